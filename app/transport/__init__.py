"""Engine.IO v4 and Socket.IO v5 on Tornado; `server.py` says what it replaces and why.

A request comes in at `handler.py`, becomes a `Connection` on `Polling` or `WebSocket`, whose
packets go to `SocketServer` and from there to the namespaces. This package knows nothing of login
sessions.
"""

from app.transport.engineio.handler import SocketHandler, UnknownSid
from app.transport.engineio.reason import Reason
from app.transport.settings import TransportSettings
from app.transport.socketio.rooms import Rooms
from app.transport.socketio.server import SocketServer

__all__ = ["Reason", "Rooms", "SocketHandler", "SocketServer", "TransportSettings", "UnknownSid"]
