"""The record that a store keeps, the protocol that every store obeys, and its errors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import msgspec

PAGE = 100  # sessions that one question about a user reads


def public_id(session_id: str) -> str:
    """Return the name of a session that its owner may see.

    It is no credential: a session id is 256 random bits, of which a hash tells nothing.
    """
    return hashlib.sha256(b"latchkey public id " + session_id.encode()).hexdigest()[:32]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a store keeps of one session. Times are seconds since 1970 (UTC).

    `data` is opaque to the store. `expires` is when the session is over unless it is touched
    (infinity: never); `version` grows by one with every save under a lock.
    """

    id: str
    data: bytes
    created: float
    seen: float
    expires: float
    user: str | None = None
    remote_address: str = ""
    user_agent: str = ""
    version: int = 1

    def __repr__(self) -> str:
        """Show only the public id, for logs."""
        return f"<Record of session {public_id(self.id)}>"

    def with_data(self, data: bytes) -> Record:
        """Return the next version of this record, which holds other data."""
        return msgspec.structs.replace(self, data=data, version=self.version + 1)


class HidesSessionId(BaseException):
    """An exception with a session id as `args[0]`, which no message, log or traceback shows."""

    sentence: ClassVar[str]

    def __str__(self) -> str:
        return self.sentence

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sentence!r})"


class StoreError(Exception):
    """A store could not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written, and trying again may help.

    Nothing was changed, unless it is a store on a network that went away in the middle of it.
    """


class StoreBusy(StoreError):
    """The lock of a session was not to be had in time; nothing was changed."""


class RecordGone(HidesSessionId, StoreError):
    """The record was removed while its lock was held; nothing was written."""

    sentence = "the record of the session was removed while it was edited"


class LeaseLost(HidesSessionId, StoreError):
    """The lock ran out before the save and somebody else wrote; nothing was written."""

    sentence = "the lock of the session ran out before the save, and another process wrote"


class Lease(Protocol):
    """The lock of one session, and its record as it was when the lock was had.

    It is given back once: by `save`, also when that raises, or by `release`.
    """

    @property
    def record(self) -> Record | None:
        """The record, or None where the store has none of that id."""

    async def save(self, data: bytes) -> Record:
        """Write other data, give the lock back and return the record as it is now.

        Returns when the change is as durable as the store makes it. Raises RecordGone,
        LeaseLost or StoreUnavailable, each without having written.
        """

    async def release(self) -> None:
        """Give the lock back and write nothing."""


class SessionStore(Protocol):
    """Where sessions live. Every method that is awaited may raise StoreUnavailable."""

    @property
    def shared(self) -> bool:
        """Whether other processes use it at the same time."""

    def known(self, session_id: str) -> Record | None:
        """Return what is known of a record without asking for it; None where `load` has to.

        Of a shared store it may be old: without what others wrote, or ended a moment ago.
        """

    async def load(self, session_id: str) -> Record | None:
        """Read one record without a lock."""

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        """Read many records in one go; those that do not exist are left out."""

    async def save(self, record: Record) -> None:
        """Add a new record; return when it is as durable as the store makes it."""

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        """Set (seen, expires) of many records in one go; missing ones are passed over.

        A record that was seen later keeps its times, and each keeps a later `expires`: another
        process may have set it, or it may have been extended meanwhile.
        """

    async def destroy(self, session_id: str) -> Record | None:
        """Remove one record, whoever holds its lock, and return it; None where there was none."""

    def take(self, session_id: str) -> Lease | None:
        """Take the lock of this session where nothing has to be waited for; else None: `lock`."""

    async def lock(self, session_id: str) -> Lease:
        """Wait for the one lock of this session and read its record; raises StoreBusy."""

    async def of_user(self, user: str, limit: int = PAGE) -> list[Record]:
        """Read the records of one user that were seen last, the latest first, by an index."""

    async def count(self, user: str) -> int:
        """Count the records of one user."""

    async def find(self, user: str, public_id: str) -> Record | None:
        """Read the record of this user with this public id, by an index."""

    async def trim(self, user: str, most: int, keep: str, limit: int = PAGE) -> list[Record]:
        """Remove records of a user beyond `most`, and return them; the least recently seen first.

        At most `limit` at a time, and never the one whose id is `keep`. Calls at once remove no
        more than they have to.
        """

    async def purge(self, now: float, limit: int) -> list[Record]:
        """Remove at most `limit` records whose `expires` has passed, and return them."""

    async def ping(self) -> None:
        """Write and read something small; raises StoreUnavailable where that fails."""

    async def close(self) -> None:
        """Finish what was begun and let go of files and connections."""
