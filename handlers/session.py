"""What the sessions of this application hold, and the base classes that know its type."""

import msgspec

from app import base


class SessionData(msgspec.Struct):
    """The data of one session; every field needs a default, which new sessions start with."""

    count: int = 0


BaseHandler = base.BaseHandler[SessionData]
BaseNamespace = base.BaseNamespace[SessionData]
