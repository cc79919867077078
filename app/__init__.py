"""Latchkey's machinery: one login session for web pages and Socket.IO sockets."""
