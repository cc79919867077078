"""Engine.IO v4 and Socket.IO v5 on Tornado; `server.py` says what it replaces and why.

A request comes in at `handler.py`, becomes a `Connection` on `Polling` or `WebSocket`, whose
packets go to `SocketServer` and from there to the namespaces. This package knows nothing of login
sessions.
"""

from app.transport.handler import SocketHandler, UnknownSid
from app.transport.reason import Reason
from app.transport.rooms import Rooms
from app.transport.server import SocketServer
from app.transport.settings import TransportSettings

__all__ = ["Reason", "Rooms", "SocketHandler", "SocketServer", "TransportSettings", "UnknownSid"]
