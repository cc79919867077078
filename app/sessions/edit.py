"""A block that edits a session: lock and read, then write and unlock."""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from typing import Generic, NoReturn

import msgspec

from app.sessions.codec import D
from app.sessions.errors import InvalidData, SessionEnded
from app.sessions.records import SessionRecords
from app.sessions.unknown_fields import UnknownFields
from app.stores import Lease, Record, RecordGone, StoreError

#: The blocks around the code that runs now, the innermost last. A task inherits those of the task
#: that started it; they may end before it does.
_open_edits: ContextVar[tuple[Edit[msgspec.Struct], ...]] = ContextVar("_open_edits", default=())


class Edit(Generic[D]):
    """One change of a session. `begin` it, change the data, then `commit` or `abandon` it."""

    __slots__ = (
        "_before",
        "_draft",
        "_lease",
        "_opened",
        "_records",
        "_unknown",
        "session_id",
    )

    def __init__(self, records: SessionRecords[D], session_id: str) -> None:
        """Prepare to edit this session; an empty id stands for one that `commit` creates."""
        self._records = records
        self.session_id = session_id
        self._lease: Lease | None = None
        self._opened: Token[tuple[Edit[msgspec.Struct], ...]] | None = None
        self._unknown: UnknownFields | None = None

    @property
    def locked(self) -> Record | None:
        """The record at the time when its lock was acquired; None before, and for a visitor."""
        return None if self._lease is None else self._lease.record

    @property
    def active(self) -> bool:
        """Whether the block is open."""
        return self._opened is not None

    async def begin(self) -> D:
        """Lock the session, read it and return its data, which may be changed.

        Raises SessionEnded, StoreBusy, StoreUnavailable, and RuntimeError inside a block of the
        same session, which would wait for its own lock.
        """
        records = self._records
        if not self.session_id:
            draft = records.codec.draft(records.codec.blank)
        else:
            # mostly without a wait; one more coroutine here costs 0.1 µs
            lease = self._lease = records.store.try_lock(self.session_id)
            if lease is None:
                lease = self._lease = await self._wait_for_lock()
            else:
                records.counts.locks.at_once += 1
            try:
                draft = self._decode(lease.record)
            except (SessionEnded, InvalidData) as error:
                await self._refuse(lease, error)
        try:
            self._note_stored_form(draft)
        except BaseException:
            await self.abandon()
            raise
        outer = _open_edits.get()
        if outer:
            outer = tuple(edit for edit in outer if edit.active)
        self._opened = _open_edits.set((*outer, self))  # type: ignore[arg-type]
        return draft

    async def commit(self, remote_address: str, user_agent: str) -> Record | None:
        """Store the change and return the record as it is now; None for a visitor still.

        Raises InvalidData, SessionEnded, LeaseLost or StoreUnavailable; nothing was written then.
        """
        try:
            encoded = self._encode()
        except BaseException:
            await self.abandon()
            raise
        self._close()
        if self._lease is None:
            if encoded == self._before:
                return None
            return await self._records.add(
                encoded, remote_address=remote_address, user_agent=user_agent
            )
        if encoded == self._before:
            await self._lease.release()
            return self._lease.record
        # here, since one more coroutine costs 0.1 µs
        counts, began = self._records.counts, perf_counter()
        try:
            return await self._lease.save(encoded)
        except StoreError as error:
            counts.errors["save"] += 1
            if isinstance(error, RecordGone):
                raise SessionEnded(self.session_id) from None
            raise
        finally:
            counts.saves.observe(perf_counter() - began)

    async def abandon(self) -> None:
        """Release the lock and change nothing."""
        self._close()
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
        for edit in _open_edits.get():
            if edit.active and edit.session_id == self.session_id:
                raise RuntimeError(
                    "this session is already open in the block around this one; "
                    "use that block's data, or leave it first"
                )

    def _decode(self, record: Record | None) -> D:
        """Return the data of a living session, to be changed."""
        if record is None or self._records.lifetimes.limit_reached(record) is not None:
            raise SessionEnded(self.session_id)
        return self._records.codec.draft(record.data)

    async def _refuse(self, lease: Lease, error: SessionEnded | InvalidData) -> NoReturn:
        """End a session that has reached a limit or is unreadable; raises SessionEnded."""
        # unlock first, because a listener to the end may want the lock
        await lease.release()
        records = self._records
        if isinstance(error, InvalidData):
            await records.endings.end_unreadable(self.session_id, error)
        elif lease.record is not None:
            reason = records.lifetimes.limit_reached(lease.record)
            if reason is not None:
                await records.endings.end(self.session_id, reason)
        raise SessionEnded(self.session_id) from None

    def _note_stored_form(self, draft: D) -> None:
        """Keep the encoded data, to find out what changes, and the fields without a type.

        It is encoded again, since another release may have stored the same data in another form.
        """
        codec = self._records.codec
        self._draft = draft
        self._before = before = codec.encode(draft)
        record = None if self._lease is None else self._lease.record
        if record is not None and record.data != before:
            self._unknown = codec.unknown(draft, record.data)

    # -- commit --

    def _encode(self) -> bytes:
        codec = self._records.codec
        encoded = codec.checked(self._draft)
        if self._unknown is not None and encoded != self._before:
            encoded = codec.with_unknown(self._draft, encoded, self._unknown)
        return encoded

    def _close(self) -> None:
        """Take this block out of the context, unless another block was opened in it since."""
        opened, self._opened = self._opened, None
        open_edits = _open_edits.get()
        if opened is not None and open_edits and open_edits[-1] is self:
            try:  # noqa: SIM105 (for every event)
                _open_edits.reset(opened)
            except ValueError:  # it was opened in another context
                pass
