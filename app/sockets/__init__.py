"""Sockets: base classes of namespaces and plain WebSockets, handshake, connections by session.

Imports accounts, database, rate_limits, services, sessions, stores, transport, web and common.
"""

from app.sockets.base_namespace import BaseNamespace
from app.sockets.base_websocket import BaseWebSocket
from app.sockets.clients import UnknownSocket
from app.sockets.connection_refused import ConnectionRefused
from app.sockets.connections import Connections
from app.sockets.event_decorator import event
from app.sockets.handshake import HandshakeHandler

__all__ = [
    "BaseNamespace",
    "BaseWebSocket",
    "ConnectionRefused",
    "Connections",
    "HandshakeHandler",
    "UnknownSocket",
    "event",
]
