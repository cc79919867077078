"""All login sessions of an application: how they are found, how they live, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Generic, NoReturn

from app.common.guard import logged
from app.common.listeners import Listeners
from app.sessions.codec import Codec, D, InvalidData
from app.sessions.edits import Edit, SessionEnded
from app.sessions.lifetimes import Lifetimes
from app.sessions.session import Reason, Session
from app.stores import Lease, Record, SessionStore, StoreError
from app.stores.counted import StoreCounts

log = logging.getLogger("latchkey.sessions")

_ID_BYTES = 32  # OWASP ASVS 5.0, 7.2.3 asks for 128 random bits


class Sessions(Generic[D]):
    """All sessions of one application: the rules of their life over a store."""

    def __init__(
        self,
        store: SessionStore,
        data_type: type[D],
        *,
        idle_timeout: float,
        max_age: float,
        new_timeout: float = 0,
        clock: Callable[[], float],
        counts: StoreCounts | None = None,
        connected: Callable[[str], bool] = lambda session_id: False,
    ) -> None:
        """`connected` tells whether a session has a live connection in this process.

        `idle_timeout`, `max_age` and `new_timeout` are seconds, 0 for none.
        """
        self.store = store
        self.counts = counts or StoreCounts()
        self.codec = Codec(data_type)
        self.blank = self.codec.encode(data_type())
        self.clock = clock
        self.lifetimes = Lifetimes(
            store,
            idle_timeout=idle_timeout,
            max_age=max_age,
            new_timeout=new_timeout,
            clock=clock,
            connected=connected,
        )
        self.on_end: Listeners[[str, Reason, Record | None]] = Listeners("the end of a session")
        self._failure = ""  # why the store did not work when it was last checked
        self._replaced: set[str] = set()  # ids whose end is about to be announced

    # -- finding --

    def visitor(
        self,
        *,
        remote_address: str,
        user_agent: str,
        may_create: Callable[[], None] | None = None,
    ) -> Session[D]:
        """Return a session that is not stored until a block changes it."""
        return Session(
            self, None, remote_address=remote_address, user_agent=user_agent, may_create=may_create
        )

    async def load(self, session_id: str) -> Session[D] | None:
        """Return the living session of this id; None where there is none (any more)."""
        record = await self._living(session_id)
        if record is None:
            return None
        try:
            return Session(self, record)
        except InvalidData as error:
            await self.unreadable(session_id, error)
            return None

    async def active(self, session_id: str) -> None:
        """Note that a client of this session did something; raises SessionEnded."""
        if not self.note(session_id):
            record = await self._living(session_id)
            if record is None:
                raise SessionEnded(session_id)
            self.lifetimes.touch(record)

    def note(self, session_id: str) -> bool:
        """Do what `active` does if the session is known to live; return whether it is."""
        cached = self.store.cached
        record = cached(session_id)
        return record is not None and self.lifetimes.touch(record)

    async def shown(self, session_id: str) -> None:
        """Note that a client sent the cookie of this session; do nothing if it has ended."""
        record = self.store.cached(session_id) or await self._living(session_id)
        if record is not None:
            self.lifetimes.touch(record, shown=True)

    async def _living(self, session_id: str) -> Record | None:
        """Return the record of this id; one that is over is ended, and None."""
        self.counts.loads += 1
        try:
            record = await self.store.load(session_id)
        except StoreError:
            self.counts.errors["load"] += 1
            raise
        if record is None:
            return None
        reason = self.lifetimes.over(record)
        if reason is None:
            return record
        await self.end(session_id, reason)
        return None

    async def get(self, session_id: str) -> Session[D]:
        """Return the living session of this id; raises SessionEnded."""
        session = await self.load(session_id)
        if session is None:
            raise SessionEnded(session_id)
        return session

    def draft(self, lease: Lease) -> D | None:
        """Return the data of a living session to change; None where there is none: `refuse`."""
        record = lease.record
        if record is None or self.lifetimes.over(record) is not None:
            return None
        try:
            return self.codec.draft(record.data)
        except InvalidData:
            return None

    async def refuse(self, session_id: str, lease: Lease) -> NoReturn:
        """Give back the lock of a session that is over or cannot be read; raises SessionEnded.

        One that is found to be over only now is ended.
        """
        # first, because those who are told of the end may want the lock themselves
        await lease.release()
        if lease.record is not None:
            reason = self.lifetimes.over(lease.record)
            if reason is not None:
                await self.end(session_id, reason)
            else:
                try:
                    self.codec.draft(lease.record.data)
                except InvalidData as error:
                    await self.unreadable(session_id, error)
        raise SessionEnded(session_id)

    async def works(self) -> bool:
        """Whether the store can be written and read."""
        try:
            await self.store.ping()
        except StoreError as error:
            self._log_failure(str(error))
            return False
        self._failure = ""
        return True

    def _log_failure(self, sentence: str) -> None:
        """Log why the store does not work, once for each reason."""
        if sentence != self._failure:
            log.error("the session store does not work: %s", sentence)
        self._failure = sentence

    # -- living --

    async def create(self, *, remote_address: str, user_agent: str) -> Session[D]:
        """Store a new session and return it; its cookie may leave from then on."""
        return Session(self, await self.insert(self.blank, remote_address, user_agent))

    async def insert(
        self, encoded: bytes, remote_address: str, user_agent: str, user: str | None = None
    ) -> Record:
        """Store a new record with an id that nobody has had (OWASP ASVS 5.0, 7.2.4)."""
        now, lifetimes = self.clock(), self.lifetimes
        record = Record(
            id=secrets.token_urlsafe(_ID_BYTES),
            data=encoded,
            created=now,
            seen=now,
            expires=lifetimes.first_expiry(now) if user is None else lifetimes.expiry(now, now),
            user=user,
            remote_address=remote_address,
            user_agent=user_agent[:512],
        )
        try:
            await self.store.save(record)
        except asyncio.CancelledError:  # which does not call back what was sent
            await self._withdraw(record.id)
            raise
        return record

    async def _withdraw(self, session_id: str) -> None:
        """Remove the record of a session whose cookie nobody will ever have."""
        with contextlib.suppress(StoreError):
            await self.store.destroy(session_id)

    async def sign_in(
        self, session: Session[D], user: str, *, remote_address: str, user_agent: str
    ) -> Session[D]:
        """Give the session a new id and a user; the old id is dead when this returns.

        A visitor's data is kept, another user's is not.

        Whoever holds connections of the old id closes them by `announce` once the new cookie is
        on its way, so that they come back with it. Raises SessionEnded.
        """
        if session.record is None:
            return Session(
                self, await self.insert(self.blank, remote_address, user_agent, user=user)
            )
        edit = Edit(self, session.id)
        await edit.begin()
        old = edit.locked
        assert old is not None  # or `begin` would have raised
        record = None
        try:
            try:
                # what one user gathered is no business of the next on the same browser
                data = old.data if old.user in (None, user) else self.blank
                record = await self.insert(data, remote_address, user_agent, user=user)
                self._replaced.add(old.id)
                removed = await self._remove(old.id)
                if removed is not None and removed.version != old.version and data is old.data:
                    # the lease had run out, and another process edited the session meanwhile
                    record = await (await self.store.lock(record.id)).save(removed.data)
            finally:
                await edit.abandon()
        except BaseException:
            if record is not None:
                self._replaced.discard(old.id)
                await self._withdraw(record.id)
            raise
        return Session(self, record)

    def touch(self, session: Session[D]) -> None:
        """Note that the client sent this session's cookie; it is written to the store later."""
        if session.record is not None:
            self.lifetimes.touch(session.record, shown=True)

    # -- ending --

    async def end(self, session_id: str, reason: Reason) -> bool:
        """End a session: its record is gone and its connections here are closed on return.

        Returns whether there was one. Raises StoreUnavailable, and then nothing was ended.
        """
        record = await self._remove(session_id)
        await self.announce(session_id, reason, record)
        return record is not None

    async def announce(self, session_id: str, reason: Reason, record: Record | None) -> None:
        """Tell all who listen that this session is over."""
        self._replaced.discard(session_id)
        await self.on_end.tell(session_id, reason, record)

    async def announce_gone(self, session_id: str) -> None:
        """Announce the end of a session whose record turned out to be gone."""
        reason: Reason = "regenerated" if session_id in self._replaced else "revoked"
        await self.announce(session_id, reason, None)

    async def end_oldest(self, user: str, most: int, *, keep: str) -> int:
        """End the least recently seen sessions of a user beyond `most`; return how many.

        Never the one whose id is `keep`. Of what clients of other processes did within
        `lifetimes.coalescing` seconds this process does not know yet.
        """
        if await self.store.count(user) <= most:
            return 0
        await self.lifetimes.flush_user(user)
        ended = 0
        while removed := await self.store.trim(user, most, keep):
            ended += len(removed)
            await self._announce_all([(record, "revoked") for record in removed])
        return ended

    async def purge(self, limit: int, as_of: float | None = None) -> Sequence[Record]:
        """Remove up to `limit` records that expired while nobody looked at them.

        `as_of` is a time; what clients did before it must have been written since then. It is
        now if it is not given.
        """
        if as_of is None:
            # taken before the touches are written: a session used meanwhile has not expired
            as_of = self.clock()
            await self.lifetimes.flush(now=True)
        over = await self.store.purge(as_of, limit)
        await self._announce_all([(record, self.lifetimes.reason(record)) for record in over])
        return over

    async def _announce_all(self, ends: Sequence[tuple[Record, Reason]]) -> None:
        """Announce the ends of records that are removed, side by side."""

        async def announce(record: Record, reason: Reason) -> None:
            with logged(log, "the end of an expired session could not be announced"):
                await self.announce(record.id, reason, record)

        for record, _ in ends:
            self.lifetimes.forget(record.id)
        await asyncio.gather(*(announce(record, reason) for record, reason in ends))

    async def unreadable(self, session_id: str, error: InvalidData) -> None:
        """End a session whose stored data fits its record no more."""
        log.error("a stored session does not fit its record any more and is ended: %s", error)
        await self.end(session_id, "revoked")

    async def _remove(self, session_id: str) -> Record | None:
        record = await self.store.destroy(session_id)
        self.lifetimes.forget(session_id)
        return record
