"""Sockets: base classes of namespaces and plain WebSockets, handshake, connections by session.

Imports web, services, sessions, stores, transport and common.
"""
