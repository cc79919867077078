"""What the sessions of this application hold, and the base classes that know its type."""

import msgspec

from app.sockets import namespace as base_namespace
from app.sockets import websocket as base_websocket
from app.web import handler as base_handler


class SessionData(msgspec.Struct):
    """The data of one session; every field needs a default, which new sessions start with."""

    count: int = 0


BaseHandler = base_handler.BaseHandler[SessionData]
BaseNamespace = base_namespace.BaseNamespace[SessionData]
BaseWebSocket = base_websocket.BaseWebSocket[SessionData]
