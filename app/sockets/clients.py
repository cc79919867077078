"""The clients of a namespace, and the client whose event is handled."""

from __future__ import annotations

import msgspec

from app.common import log_context
from app.sessions.room_name import session_room
from app.sockets.socket_context import SocketContext


class UnknownSocket(LookupError):
    """No client of this namespace has this sid; the session it belonged to may be alive."""

    def __init__(self, sid: object) -> None:
        super().__init__(
            f"unknown socket id {sid!r}: the client never joined, or it has left; its session "
            "is available until on_disconnect returns, and then only in tasks of its own events"
        )


class Client(msgspec.Struct, frozen=True):  # faster to create than a dataclass
    """A client of a namespace, with the context of its connection."""

    sid: str
    context: SocketContext
    user_id: str | None = None  # of the account that has signed in
    is_user: bool = True  # whether that user signed in themself, not an administrator

    @property
    def present_user(self) -> str | None:
        """The user who is present by this client; None for a visitor and an administrator."""
        return self.user_id if self.is_user else None

    @property
    def session_id(self) -> str:
        """The session that it belongs to."""
        return self.context.session_id

    @property
    def request_id(self) -> str:
        """Id of the request that opened its connection."""
        return self.context.request_id

    @property
    def room(self) -> str:
        """The room of all sockets of that session."""
        return session_room(self.context.session_id)


#: Set the client whose event is handled. Tasks that the handler starts inherit it, and find the
#: session by it when the client has left.
set_current = log_context.client.set


class Clients(dict[str, Client]):
    """The clients of one namespace, by sid.

    It is a dict because an event finds its client three times, which takes half the time so.
    """

    def __missing__(self, sid: str) -> Client:
        """Return a client that has left, to a task that it has started.

        Raises UnknownSocket for any other sid.
        """
        client = _current()
        if client is None or client.sid != sid:
            raise UnknownSocket(sid)
        return client


def _current() -> Client | None:
    """Return the client whose event is handled."""
    client = log_context.client.get()
    return client if isinstance(client, Client) else None
