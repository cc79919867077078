"""Latchkey's machinery: one login session for web pages and Socket.IO sockets."""

__version__ = "0.1.0"
