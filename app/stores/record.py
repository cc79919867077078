"""The record that a store keeps of one session, and its public id."""

from __future__ import annotations

import hashlib

import msgspec


def public_id(session_id: str) -> str:
    """Return the id of a session that its owner may see.

    It is no credential: a session id is 256 random bits, of which a hash tells nothing.
    """
    return hashlib.sha256(b"latchkey public id " + session_id.encode()).hexdigest()[:32]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The stored form of one session. Times are seconds since 1970 (UTC).

    `data` is opaque to the store. The session ends at `expires` unless it is touched (infinity:
    never). `version` grows by one with every save under a lock. `user_id` is the id of the account
    that is signed in, and the index of `UserSessions`; both it and `user_name` are None for a
    visitor. A release that knew no ids stored the name as `user_id`, and no `user_name`: the name
    is the id of those accounts. `authentication` is opaque to the store too: how and when the user
    has proved who they are (`app.sessions.authentication`); None for a visitor, and for a session
    of a release that did not keep it.
    """

    id: str
    data: bytes
    created: float
    seen: float
    expires: float
    user_id: str | None = None
    remote_address: str = ""
    user_agent: str = ""
    version: int = 1
    user_name: str | None = None
    authentication: str | None = None

    def __repr__(self) -> str:
        """Show only the public id, for logs."""
        return f"<Record of session {public_id(self.id)}>"

    @property
    def user(self) -> str | None:
        """The name of the user who is signed in, to show; None for a visitor."""
        return self.user_id if self.user_name is None else self.user_name

    def with_data(self, data: bytes) -> Record:
        """Return the next version of this record, with other data."""
        return msgspec.structs.replace(self, data=data, version=self.version + 1)
