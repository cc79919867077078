"""The end of a session: its record is removed, and the listeners are told.

Who they are says `app/session_end_listeners.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from app.common.listeners import Listeners
from app.common.log_and_continue import logged
from app.sessions.clock import Clock
from app.sessions.end_reason import EndReason
from app.sessions.errors import InvalidData
from app.sessions.lifetimes import Lifetimes
from app.sessions.replacements import Replacements
from app.stores import Record, SessionStore

log = logging.getLogger("latchkey.sessions")


class Endings:
    """All ways in which sessions end in this process."""

    def __init__(self, store: SessionStore, lifetimes: Lifetimes, clock: Clock) -> None:
        self._store = store
        self._lifetimes = lifetimes
        self._clock = clock
        self._replaced: set[str] = set()  # ids that were regenerated and are not announced yet
        self.replacements = Replacements(store)
        #: called with the id, the reason, and the record if this process removed it
        self.on_end: Listeners[[str, EndReason, Record | None]] = Listeners("the end of a session")

    async def end(self, session_id: str, reason: EndReason) -> bool:
        """Remove the record and tell the listeners; return whether there was a record.

        Raises StoreUnavailable, and then nothing was ended.
        """
        record = await self.remove(session_id)
        await self.announce(session_id, reason, record)
        return record is not None

    async def end_unreadable(self, session_id: str, error: InvalidData) -> None:
        """End a session whose stored data no longer fits its type."""
        log.error("stored session data does not fit its type, session ended: %s", error)
        await self.end(session_id, "revoked")

    async def end_oldest(self, user_id: str, maximum: int, *, keep: str) -> int:
        """End the least recently seen sessions of a user beyond `maximum`; return how many.

        Never the one with the id `keep`. Activity that other processes noted less than
        `flush_interval` seconds ago is unknown here.
        """
        if await self._store.count(user_id) <= maximum:
            return 0
        await self._lifetimes.activity.flush_user(user_id)
        ended = 0
        while removed := await self._store.trim(user_id, maximum, keep):
            ended += len(removed)
            await self._announce_removed((record, "revoked") for record in removed)
        return ended

    async def purge(self, limit: int, as_of: float | None = None) -> Sequence[Record]:
        """Remove up to `limit` records that have expired, and return them.

        `as_of` is a time, now by default. Activity from before it must have been written since.
        """
        if as_of is None:
            # read the clock before the write: a session that is used meanwhile has not expired
            as_of = self._clock()
            await self._lifetimes.activity.flush(force=True)
        removed = await self._store.purge(as_of, limit)
        await self._announce_removed(
            (record, self._lifetimes.next_limit(record)) for record in removed
        )
        return removed

    async def remove(self, session_id: str) -> Record | None:
        """Remove the record of a session and announce nothing yet."""
        record = await self._store.destroy(session_id)
        self._lifetimes.activity.forget(session_id)
        return record

    async def announce(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        """Tell the listeners that a session has ended."""
        self._replaced.discard(session_id)
        await self.on_end.tell(session_id, reason, record)

    async def announce_missing(self, session_id: str) -> None:
        """Tell the listeners that a session has ended whose record turned out to be missing.

        Connections that may go on under a new id have followed it before. Raises StoreUnavailable.
        """
        replaced = await self.replacements.find(session_id) or session_id in self._replaced
        await self.announce(session_id, "regenerated" if replaced else "revoked", None)

    def set_replaced(self, session_id: str, replaced: bool) -> None:
        """Remember that this id is being regenerated, or that this has failed.

        Until that is announced, a client that finds the record missing learns the true reason.
        """
        (self._replaced.add if replaced else self._replaced.discard)(session_id)

    async def _announce_removed(self, ends: Iterable[tuple[Record, EndReason]]) -> None:
        """Tell the listeners of many ends at the same time."""
        reasons = [*ends]  # read before `forget`, since they depend on the activity

        async def announce(record: Record, reason: EndReason) -> None:
            with logged(log, "the end of an expired session could not be announced"):
                await self.announce(record.id, reason, record)

        for record, _ in reasons:
            self._lifetimes.activity.forget(record.id)
        await asyncio.gather(*(announce(record, reason) for record, reason in reasons))
