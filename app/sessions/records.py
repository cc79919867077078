"""The records of living sessions: find one, add one."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import Generic, Protocol

from app.sessions.authentication import Actor, actor_of, ends_by
from app.sessions.codec import Codec, D
from app.sessions.endings import Endings
from app.sessions.lifetimes import Lifetimes
from app.stores import Record, SessionStore, StoreError
from app.stores.counted import StoreCounts

_ID_BYTES = 32  # OWASP ASVS 5.0, 7.2.3 asks for 128 random bits
_MAX_USER_AGENT = 512  # characters
_MAX_CHECKED = 20_000  # ids of sessions


class OldUsers(Protocol):
    """The accounts, for sessions that have the name of their account only."""

    async def is_id(self, name: str) -> bool | None:
        """Whether this name is also the id of the account that has it; None if unknown."""
        ...


class SessionRecords(Generic[D]):
    """A store whose records follow the rules of sessions; edits and sessions work on it."""

    def __init__(
        self,
        store: SessionStore,
        codec: Codec[D],
        lifetimes: Lifetimes,
        endings: Endings,
        counts: StoreCounts,
        old_users: OldUsers | None = None,
    ) -> None:
        """`old_users` checks sessions that a release without account ids has stored."""
        self.store = store
        self.codec = codec
        self.lifetimes = lifetimes
        self.endings = endings
        self.replacements = endings.replacements
        self.counts = counts
        self.old_users = old_users
        self._checked: set[str] = set()  # ids of sessions that `old_users` has found valid

    async def find(self, session_id: str) -> Record | None:
        """Return the record of a living session; end one that has reached a limit."""
        self.counts.loads += 1
        try:
            record = await self.store.load(session_id)
        except StoreError:
            self.counts.errors["load"] += 1
            raise
        if record is None:
            return None
        reason = self.lifetimes.limit_reached(record)
        actor = actor_of(record.authentication)
        if reason is None and actor is not None and not await self._lives(actor):
            reason = "revoked"
        if reason is None:
            if record.user_name is None and record.user_id is not None:
                return await self._check_user(record)
            return record
        await self.endings.end(session_id, reason)
        return None

    async def _lives(self, actor: Actor) -> bool:
        """Whether an administrator who acts as another user still has their own session."""
        own = await self.store.load(actor.session_id)
        return own is not None and self.lifetimes.limit_reached(own) is None

    async def _check_user(self, record: Record) -> Record | None:
        """End a session whose user name, which stands for an id, belongs to another account.

        The older release has stored it while it ran beside this one or after it.
        """
        if self.old_users is None or record.user_id is None or record.id in self._checked:
            return record
        valid = await self.old_users.is_id(record.user_id)
        if valid is False:
            await self.endings.end(record.id, "revoked")
            return None
        if valid:
            if len(self._checked) >= _MAX_CHECKED:
                self._checked.clear()
            self._checked.add(record.id)
        return record

    async def add(self, record: Record) -> Record:
        """Store a record that `new` has made, and return it."""
        try:
            await self.store.save(record)
        except asyncio.CancelledError:  # the store may save it all the same
            await self.withdraw(record.id)
            raise
        return record

    def new(
        self,
        data: bytes,
        *,
        remote_address: str,
        user_agent: str,
        user_id: str | None = None,
        user_name: str | None = None,
        authentication: str | None = None,
    ) -> Record:
        """Return a record with an id that was never used (ASVS 5.0, 7.2.4), for `add` to store."""
        timeouts, now = self.lifetimes.timeouts, self.lifetimes.clock()
        return Record(
            id=secrets.token_urlsafe(_ID_BYTES),
            data=data,
            created=now,
            seen=now,
            expires=(
                timeouts.first_expires(now)
                if user_id is None
                else timeouts.expires(now, now, ends_by(authentication))
            ),
            user_id=user_id,
            user_name=user_name,
            authentication=authentication,
            remote_address=remote_address,
            user_agent=user_agent[:_MAX_USER_AGENT],
        )

    async def withdraw(self, session_id: str) -> None:
        """Remove the record of a session whose cookie no client will ever get."""
        with contextlib.suppress(StoreError):
            await self.store.destroy(session_id)
