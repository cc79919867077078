"""One block that edits a session: lock, reload, compare, write and unlock."""

from __future__ import annotations

from contextvars import ContextVar, Token
from time import perf_counter
from typing import TYPE_CHECKING, Generic

import msgspec

from app.sessions.codec import D
from app.sessions.unknown_fields import UnknownFields
from app.stores import HidesSessionId, Lease, Record, RecordGone, StoreError

if TYPE_CHECKING:
    from app.sessions.manager import Sessions

_open_edits: ContextVar[tuple[Edit[msgspec.Struct], ...]] = ContextVar("_open_edits", default=())


class SessionEnded(HidesSessionId, Exception):
    """The session is over; nothing was written. `args[0]` is its id."""

    sentence = "the session has ended"

    @property
    def session_id(self) -> str:
        """Its id; empty if that is the session of the client or page whose code raised it."""
        return self.args[0] if self.args else ""


def _refuse_nested(session_id: str) -> None:
    """Raise RuntimeError inside a block of this session, where its lock would never come free."""
    for edit in _open_edits.get():
        if edit.active and edit.session_id == session_id:
            raise RuntimeError(
                "this session is already open in the block around this one; "
                "use that block's data, or leave it first"
            )


class Edit(Generic[D]):
    """One block that changes a session: lock and reload, then compare, write and unlock."""

    __slots__ = (
        "_before",
        "_draft",
        "_lease",
        "_opened",
        "_sessions",
        "_unknown",
        "session_id",
    )

    def __init__(self, sessions: Sessions[D], session_id: str) -> None:
        """Prepare to edit this session, or for an empty id the one that `commit` will create."""
        self._sessions = sessions
        self.session_id = session_id
        self._lease: Lease | None = None
        self._opened: Token[tuple[Edit[msgspec.Struct], ...]] | None = None
        self._unknown: UnknownFields | None = None

    @property
    def locked(self) -> Record | None:
        """The record as it was when the lock was had; None before, and for a visitor's."""
        return None if self._lease is None else self._lease.record

    @property
    def active(self) -> bool:
        """Whether the block is being run."""
        return self._opened is not None

    async def begin(self) -> D:
        """Take the lock, read the session as it is now and return data to change.

        Raises SessionEnded, StoreBusy, StoreUnavailable, and RuntimeError inside a block of
        the same session, where waiting for the lock would never end.
        """
        sessions, session_id = self._sessions, self.session_id
        if session_id:
            # all of it in this coroutine, since every event comes this way
            try_lock = sessions.store.try_lock
            lease = try_lock(session_id)
            if lease is not None:
                sessions.counts.locks.at_once += 1
            else:
                if _open_edits.get():  # spares a call
                    _refuse_nested(session_id)
                began = perf_counter()
                try:
                    lock = sessions.store.lock
                    lease = await lock(session_id)
                except StoreError:
                    sessions.counts.errors["lock"] += 1
                    raise
                finally:
                    sessions.counts.locks.observe(perf_counter() - began)
            draft = sessions.draft(lease)
            if draft is None:
                await sessions.refuse(session_id, lease)
            self._lease, self._draft = lease, draft
        else:
            self._draft = sessions.codec.draft(sessions.blank)
        try:
            # a record that another release wrote may encode otherwise, though nothing changed
            self._before = before = sessions.codec.encode(self._draft)
            held = self._lease
            if held is not None and held.record is not None and held.record.data != before:
                self._unknown = sessions.codec.unknown(self._draft, held.record.data)
        except BaseException:
            await self.abandon()
            raise
        outer = _open_edits.get()
        if outer:
            outer = tuple(edit for edit in outer if edit.active)
        self._opened = _open_edits.set((*outer, self))  # type: ignore[arg-type]
        return self._draft

    def _over(self) -> None:
        """Leave nothing of this block in the context, unless another was opened in it since."""
        opened, self._opened = self._opened, None
        open_edits = _open_edits.get()
        if opened is not None and open_edits and open_edits[-1] is self:
            try:  # noqa: SIM105 (for every event)
                _open_edits.reset(opened)
            except ValueError:  # it was opened in another context
                pass

    async def abandon(self) -> None:
        """Give the lock back and change nothing."""
        self._over()
        if self._lease is not None:
            await self._lease.release()

    async def commit(self, remote_address: str, user_agent: str) -> Record | None:
        """Store what was changed and return the record as it is now; None for a visitor still.

        Raises InvalidData, SessionEnded, LeaseLost or StoreUnavailable: nothing was written.
        """
        sessions = self._sessions
        try:
            encoded = sessions.codec.checked(self._draft)
            if self._unknown is not None and encoded != self._before:
                encoded = sessions.codec.with_unknown(self._draft, encoded, self._unknown)
        except BaseException:
            await self.abandon()
            raise
        self._over()
        if self._lease is None:
            if encoded == self._before:
                return None
            return await sessions.insert(encoded, remote_address, user_agent)
        if encoded == self._before:
            await self._lease.release()
            return self._lease.record
        began = perf_counter()
        try:
            return await self._lease.save(encoded)
        except StoreError as error:
            sessions.counts.errors["save"] += 1
            if isinstance(error, RecordGone):
                raise SessionEnded(self.session_id) from None
            raise
        finally:
            sessions.counts.saves.observe(perf_counter() - began)
