"""What sessions hold in tests, and the base classes that know its type."""

from __future__ import annotations

import msgspec

from app.sockets import base_namespace, base_websocket
from app.web import base_handler


class SessionData(msgspec.Struct):
    """The data of one session."""

    count: int = 0


BaseHandler = base_handler.BaseHandler[SessionData]
BaseNamespace = base_namespace.BaseNamespace[SessionData]
BaseWebSocket = base_websocket.BaseWebSocket[SessionData]
