"""A block that edits a session: lock and read, then write and unlock."""

from __future__ import annotations

from contextvars import ContextVar
from time import perf_counter
from typing import Any, Generic

from app.sessions.codec import D
from app.sessions.errors import InvalidData, SessionEnded
from app.sessions.records import SessionRecords
from app.sessions.replacements import ConnectionSession
from app.sessions.unknown_fields import UnknownFields
from app.stores import Lease, Record, RecordGone, StoreError

#: The block that was opened last around the code that runs now; it may have been closed since. A
#: task inherits it from the task that started it.
_innermost: ContextVar[Edit[Any] | None] = ContextVar("_innermost", default=None)


class Edit(Generic[D]):
    """One change of a session. `begin` it, change the data, then `commit` or `abandon` it."""

    __slots__ = (
        "_before",
        "_connection",
        "_draft",
        "_lease",
        "_outer",
        "_records",
        "_unknown",
        "active",
        "session_id",
    )

    def __init__(
        self,
        records: SessionRecords[D],
        session_id: str,
        connection: ConnectionSession | None = None,
    ) -> None:
        """Prepare to edit this session; an empty id stands for one that `commit` creates.

        With a `connection`, go on with its session if that gets a new id.
        """
        self._records = records
        self._connection = connection
        self.session_id = session_id
        self._lease: Lease | None = None
        self._outer: Edit[Any] | None = None  # the open block around this one
        self._unknown: UnknownFields | None = None
        self.active = False  # whether the block is open

    @property
    def locked(self) -> Record | None:
        """The record at the time when its lock was acquired; None before, and for a visitor."""
        return None if self._lease is None else self._lease.record

    async def begin(self) -> D:
        """Lock the session, read it and return its data, which may be changed.

        Raises SessionEnded, StoreBusy, StoreUnavailable, and RuntimeError inside a block of the
        same session, which would wait for its own lock.
        """
        records = self._records
        codec = records.codec
        if not self.session_id:
            stored = codec.blank
            draft = codec.draft(stored)
        else:
            # mostly without a wait; one more coroutine here costs 0.1 µs
            try_lock = records.store.try_lock  # a local name is called faster, see `Lifetimes`
            lease = self._lease = try_lock(self.session_id)
            if lease is None:
                lease = self._lease = await self._wait_for_lock()
            else:
                records.counts.locks.at_once += 1
            try:
                record = lease.record
                if record is None or records.lifetimes.limit_reached(record) is not None:
                    raise SessionEnded(self.session_id)
                stored = record.data
                draft = codec.draft(stored)
            except (SessionEnded, InvalidData) as error:
                await self._refuse(lease, error)
                return await self.begin()  # the session has a new id
        try:
            # encoded again, since another release may have stored the same data in another form
            before = self._before = codec.encode(draft)
            if before != stored:
                self._unknown = codec.unknown(draft, stored)
        except BaseException:
            await self.abandon()
            raise
        self._draft = draft
        outer = _innermost.get()
        while outer is not None and not outer.active:  # closed since
            outer = outer._outer
        self._outer = outer
        self.active = True
        _innermost.set(self)
        return draft

    async def commit(self, remote_address: str, user_agent: str) -> Record | None:
        """Store the change and return the record as it is now; None for a visitor still.

        Raises InvalidData, SessionEnded, LeaseLost or StoreUnavailable; nothing was written then.
        """
        codec = self._records.codec
        try:
            encoded = codec.checked(self._draft)
            if self._unknown is not None and encoded != self._before:
                encoded = codec.with_unknown(self._draft, encoded, self._unknown)
        except BaseException:
            await self.abandon()
            raise
        self.active = False
        lease = self._lease
        if lease is None:
            if encoded == self._before:
                return None
            records = self._records
            return await records.add(
                records.new(encoded, remote_address=remote_address, user_agent=user_agent)
            )
        if encoded == self._before:
            await lease.release()
            return lease.record
        # here, since one more coroutine costs 0.1 µs
        counts, began = self._records.counts, perf_counter()
        try:
            return await lease.save(encoded)
        except StoreError as error:
            counts.errors["save"] += 1
            if isinstance(error, RecordGone):
                raise SessionEnded(self.session_id) from None
            raise
        finally:
            counts.saves.observe(perf_counter() - began)

    async def replace(self, record: Record, note: bytes = b"") -> None:
        """Store another record in place of this one, in one step, and release the lock.

        `note` is for the other processes. Raises SessionEnded, LeaseLost or StoreUnavailable.
        """
        assert self._lease is not None  # `begin` has locked it
        self.active = False
        try:
            await self._lease.replace(record, note)
        except RecordGone:
            raise SessionEnded(self.session_id) from None

    async def abandon(self) -> None:
        """Release the lock and change nothing."""
        self.active = False
        if self._lease is not None:
            await self._lease.release()

    # -- begin --

    async def _wait_for_lock(self) -> Lease:
        self._refuse_nested()
        counts, began = self._records.counts, perf_counter()
        try:
            return await self._records.store.lock(self.session_id)
        except StoreError:
            counts.errors["lock"] += 1
            raise
        finally:
            counts.locks.observe(perf_counter() - began)

    def _refuse_nested(self) -> None:
        """Raise RuntimeError inside a block of this session, whose lock would never be free."""
        edit = _innermost.get()
        while edit is not None:
            if edit.active and edit.session_id == self.session_id:
                raise RuntimeError(
                    "this session is already open in the block around this one; "
                    "use that block's data, or leave it first"
                )
            edit = edit._outer

    async def follow(self) -> bool:
        """Go on with the session of the connection if it has a new id; return whether it has."""
        connection = self._connection
        if connection is None:
            return False
        if connection.session_id == self.session_id:
            await self._records.replacements.follow(connection)
        followed = connection.session_id != self.session_id
        self.session_id = connection.session_id
        return followed

    async def _refuse(self, lease: Lease, error: SessionEnded | InvalidData) -> None:
        """End a session that has reached a limit or is unreadable; raises SessionEnded.

        Returns if the session goes on under a new id.
        """
        # unlock first, because a listener to the end may want the lock
        await lease.release()
        records = self._records
        if isinstance(error, InvalidData):
            await records.endings.end_unreadable(self.session_id, error)
        elif lease.record is None:
            if await self.follow():
                return
        else:
            reason = records.lifetimes.limit_reached(lease.record)
            if reason is not None:
                await records.endings.end(self.session_id, reason)
        raise SessionEnded(self.session_id) from None
