"""The session that each client of a namespace belongs to."""

from __future__ import annotations

from contextvars import ContextVar

from app.sessions.room import session_room


class UnknownSocket(LookupError):
    """No client of this namespace has this sid; the session it belonged to may be alive."""

    def __init__(self, sid: object) -> None:
        super().__init__(
            f"unknown socket id {sid!r}: the client never joined, or it has left; its session "
            "is available until on_disconnect returns, and then only in tasks of its own events"
        )


class Client:
    """A client, its session, and the room of all sockets of that session."""

    __slots__ = ("room", "session_id", "sid")

    def __init__(self, sid: str, session_id: str) -> None:
        self.sid = sid
        self.session_id = session_id
        self.room = session_room(session_id)


#: The client whose event is being handled. Tasks that the event starts inherit it, so that they
#: find the session when the client has left.
_current: ContextVar[Client | None] = ContextVar("latchkey_client", default=None)
begin_event = _current.set


class Clients(dict[str, Client]):
    """The clients of one namespace, by sid."""

    def __missing__(self, sid: str) -> Client:
        """Return the client that this task was started by; raises UnknownSocket for another."""
        client = _current.get()
        if client is None or client.sid != sid:
            raise UnknownSocket(sid)
        return client
