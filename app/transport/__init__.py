"""The protocols: HTTP/1.1, Engine.IO 4 and Socket.IO 5. It knows nothing of login sessions.

Imports common. Inside, `http` imports neither of the others, `engineio` may import `http`, and
`socketio` may import `engineio`.
"""

from app.transport.engineio.close_reason import Reason
from app.transport.engineio.handler import SocketHandler
from app.transport.engineio.request_error import UnknownSid
from app.transport.engineio.server import EngineServer
from app.transport.settings import TransportSettings
from app.transport.socketio.connection_callbacks import Listener
from app.transport.socketio.peer import Peer
from app.transport.socketio.rooms import Rooms
from app.transport.socketio.server import SocketServer

__all__ = [
    "EngineServer",
    "Listener",
    "Peer",
    "Reason",
    "Rooms",
    "SocketHandler",
    "SocketServer",
    "TransportSettings",
    "UnknownSid",
]
