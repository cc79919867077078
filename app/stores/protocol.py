"""The interface of a session store, in three parts: records, sessions of a user, leases."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from app.stores.record import Record

MAX_LISTED = 100  # sessions of a user that one call returns or removes


class RecordStore(Protocol):
    """Session records by id. Every awaited method may raise StoreUnavailable."""

    @property
    def shared(self) -> bool:
        """Whether other processes use this store at the same time."""
        ...

    def cached(self, session_id: str) -> Record | None:
        """Return a record from this process's memory; None if it has to be loaded.

        A shared store may return an old record: one that another process has changed or removed
        a moment ago.
        """
        ...

    def load(self, session_id: str) -> Coroutine[Any, Any, Record | None]:
        """Read one record without a lock; None if there is none."""
        ...

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        """Read many records in one call; records that do not exist are left out."""
        ...

    async def save(self, record: Record) -> None:
        """Add a new record; return when it is as durable as the store makes it."""

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        """Set (seen, expires) of many records in one call; unknown ids are ignored.

        A record keeps its times if its `seen` is later, and keeps its `expires` if that is
        later: another process may have set them, or the session was extended meanwhile.
        """

    async def destroy(self, session_id: str) -> Record | None:
        """Remove one record, even if it is locked, and return it; None if there was none."""
        ...

    async def replaced_by(self, session_id: str) -> bytes | None:
        """Return the note of a record that another process has replaced in the last minute.

        See `Lease.replace`. A store of one process returns None: who wrote the note remembers it.
        """
        ...

    async def purge(self, now: float, limit: int) -> list[Record]:
        """Remove at most `limit` records whose `expires` has passed, and return them."""
        ...

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        """Read about `limit` records of all, in no order; return them and the next cursor.

        The first cursor is "", and the scan is complete when it is "" again. A record that exists
        all the time is among the results, perhaps twice. A page may be empty, or longer. Keep
        the cursor in the process: it may be a session's id.
        """
        ...

    async def stored(self) -> int:
        """Return how many records there are, expired ones too, without reading them all.

        Metrics ask about once a minute. A shared store may leave out those that never expire.
        """
        ...

    async def ping(self) -> None:
        """Write and read something small; raises StoreUnavailable if that fails."""

    async def close(self) -> None:
        """Finish the calls under way, then close files and connections."""


class UserSessions(Protocol):
    """The records of one user, by account id. Every method may raise StoreUnavailable."""

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        """Read the records of this user that were seen last, the latest first, by an index."""
        ...

    async def count(self, user_id: str) -> int:
        """Count the records of this user."""
        ...

    async def find(self, user_id: str, public_id: str) -> Record | None:
        """Read the record of this user with this public id, by an index."""
        ...

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        """Remove the least recently seen records beyond `maximum`, and return them.

        Removes at most `limit` records per call, and never the one with the id `keep`.
        Concurrent calls together remove no more than necessary.
        """
        ...


class Lease(Protocol):
    """The lock of one session, and its record at the time when the lock was acquired.

    A lease ends once: by `save` or `replace`, also if they raise, or by `release`.
    """

    @property
    def record(self) -> Record | None:
        """The record, or None if the store has none with this id."""
        ...

    def save(self, data: bytes) -> Awaitable[Record]:
        """Write new data, release the lock and return the new record.

        Returns when the change is as durable as the store makes it. Raises RecordGone,
        LeaseLost or StoreUnavailable; nothing was written then.
        """
        ...

    async def replace(self, record: Record, note: bytes = b"") -> None:
        """Store another record, remove this one, both in one step, and release the lock.

        Unless `note` is empty, other processes are told it in the same step. Raises RecordGone,
        LeaseLost or StoreUnavailable; nothing was written then.
        """

    async def release(self) -> None:
        """Release the lock and write nothing."""


class Leases(Protocol):
    """The locks of sessions, at most one lease per session at a time."""

    def try_lock(self, session_id: str) -> Lease | None:
        """Acquire the lock of this session without waiting; None if `lock` has to be awaited."""
        ...

    def lock(self, session_id: str) -> Coroutine[Any, Any, Lease]:
        """Wait for the lock of this session; raises StoreBusy or StoreUnavailable."""
        ...


class SessionStore(RecordStore, UserSessions, Leases, Protocol):
    """A place where sessions live."""
