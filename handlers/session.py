"""The data of a session, and base classes that have its type."""

import msgspec

from app.sockets import base_namespace, base_websocket
from app.web import base_handler


class SessionData(msgspec.Struct):
    """The data of one session; each field needs a default, the value in a new session."""

    count: int = 0


BaseHandler = base_handler.BaseHandler[SessionData]
BaseNamespace = base_namespace.BaseNamespace[SessionData]
BaseWebSocket = base_websocket.BaseWebSocket[SessionData]
