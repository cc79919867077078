"""What the sessions of this application hold, and the base classes that know its type."""

import msgspec

from app import base_handler, base_namespace, base_websocket


class SessionData(msgspec.Struct):
    """The data of one session; every field needs a default, which new sessions start with."""

    count: int = 0


BaseHandler = base_handler.BaseHandler[SessionData]
BaseNamespace = base_namespace.BaseNamespace[SessionData]
BaseWebSocket = base_websocket.BaseWebSocket[SessionData]
