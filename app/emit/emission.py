"""What to emit, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.sessions.room_name import session_room, user_room

#: Events of Socket.IO itself, which no program may send.
_RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting"})


class InvalidEmission(ValueError):
    """It cannot be emitted; the message says what to write."""


class Emission(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An event for a room, a session, a user, or for all sockets of a namespace."""

    event: str
    data: Any = None
    namespace: str = "/"
    room: str | None = None
    session: str | None = None
    user: str | None = None

    def check(self) -> None:
        """Raise InvalidEmission if it makes no sense."""
        if not self.event or self.event in _RESERVED:
            raise InvalidEmission(f"{self.event!r} cannot be the name of an event; choose another")
        if not self.namespace.startswith("/"):
            raise InvalidEmission(
                f"a namespace begins with a slash, so {self.namespace!r} is none; "
                f"write {'/' + self.namespace!r}"
            )
        if [self.room, self.session, self.user].count(None) < 2:
            raise InvalidEmission("name one of room, session and user; without any, all get it")

    @property
    def target(self) -> str | None:
        """The room of the sockets that get it; None for all of the namespace."""
        if self.session is not None:
            return session_room(self.session)
        return self.room if self.user is None else user_room(self.user)


def read_emission(arguments: Mapping[str, Any]) -> Emission:
    """Return what these arguments of a command mean; raises InvalidEmission."""
    try:
        emission = msgspec.convert(arguments, Emission)
    except msgspec.ValidationError as error:
        raise InvalidEmission(str(error)) from None
    emission.check()
    return emission
