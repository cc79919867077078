"""All login sessions of an application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

from app.sessions.authentication import Authentication, actor_of, encode
from app.sessions.clock import Clock
from app.sessions.codec import Codec, D
from app.sessions.end_reason import EndReason
from app.sessions.endings import Endings
from app.sessions.errors import SessionEnded
from app.sessions.lifetimes import Lifetimes
from app.sessions.records import OldUsers, SessionRecords
from app.sessions.regeneration import regenerate
from app.sessions.replacements import ConnectionSession
from app.sessions.session import Session, SessionFor, from_record, load
from app.sessions.timeouts import Timeouts
from app.stores import MAX_LISTED, Record, SessionStore
from app.stores.counted import StoreCounts


class Sessions(Generic[D]):
    """Finds, creates, edits and ends sessions."""

    def __init__(
        self,
        store: SessionStore,
        data_type: type[D],
        *,
        idle_timeout: float,
        max_age: float,
        new_timeout: float = 0,
        clock: Clock,
        counts: StoreCounts | None = None,
        connected: Callable[[str], bool] = lambda session_id: False,
        old_users: OldUsers | None = None,
    ) -> None:
        """`connected` tells whether a session has a live connection in this process.

        `idle_timeout`, `max_age` and `new_timeout` are seconds, 0 for none. `old_users` checks
        sessions that a release without account ids has stored; without it they are valid.
        """
        timeouts = Timeouts.of(idle=idle_timeout, max_age=max_age, new=new_timeout)
        self.store = store
        self.clock = clock
        self.lifetimes = Lifetimes(store, timeouts, clock=clock, connected=connected)
        self._endings = Endings(store, self.lifetimes, clock)
        self.records = SessionRecords(
            store,
            Codec(data_type),
            self.lifetimes,
            self._endings,
            counts or StoreCounts(),
            old_users,
        )
        #: called with the id, the reason, and the record if this process removed it
        self.on_end = self._endings.on_end
        #: ids that were replaced, and who is told of them
        self.replacements = self._endings.replacements

    # -- find --

    async def load(self, session_id: str) -> Session[D] | None:
        """Return the living session with this id, or None."""
        return await load(self.records, session_id)

    def session_for(self, session_id: str) -> SessionFor[D]:
        """Return an object that reads this session by `await` and edits it by `async with`."""
        return SessionFor(self.records, session_id)

    def session_of(self, connection: ConnectionSession) -> SessionFor[D]:
        """Return what `session_for` does, for the session of a connection.

        It goes on with that session if its user proves once more who they are, and it gets a new
        id.
        """
        return SessionFor(self.records, connection.session_id, connection)

    def edit(self, session_id: str) -> SessionFor[D]:
        """Edit any session: `async with services.sessions.edit(session_id) as data`.

        Works for sessions of other processes too, and promises what `self.session` of a page does.
        The block raises SessionEnded if there is no such session, and StoreBusy or
        StoreUnavailable if the store does not give it.
        """
        if not session_id:  # a visitor's session that is not stored
            raise SessionEnded(session_id)
        return SessionFor(self.records, session_id)

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Session[D]]:
        """Return the living sessions of an account, the last seen first, at most `limit`."""
        found = []
        for record in self.lifetimes.living(await self.store.of_user(user_id, limit)):
            session = await from_record(self.records, record)
            if session is not None:
                found.append(session)
        return found

    def visitor(
        self,
        *,
        remote_address: str,
        user_agent: str,
        may_create: Callable[[], Awaitable[None]] | None = None,
    ) -> Session[D]:
        """Return a session that is stored by the first block that changes it.

        `may_create` is called before that, and may raise.
        """
        return Session(
            self.records,
            None,
            remote_address=remote_address,
            user_agent=user_agent,
            may_create=may_create,
        )

    # -- create --

    async def create(
        self,
        *,
        remote_address: str,
        user_agent: str,
        user_id: str | None = None,
        user_name: str | None = None,
        authentication: Authentication | None = None,
    ) -> Session[D]:
        """Store a new session and return it; its cookie may be sent from then on.

        It is a visitor's, or that of the account `user_id`, which is shown as `user_name`.
        """
        record = self.records.new(
            self.records.codec.blank,
            remote_address=remote_address,
            user_agent=user_agent,
            user_id=user_id,
            user_name=user_name,
            authentication=None if authentication is None else encode(authentication),
        )
        return Session(self.records, await self.records.add(record))

    async def sign_in(
        self,
        session: Session[D],
        user_id: str,
        *,
        user_name: str | None = None,
        authentication: Authentication | None = None,
        remote_address: str,
        user_agent: str,
        network: str = "",
    ) -> Session[D]:
        """Give the session a new id and a user; the old id is dead on return.

        Handlers call `services.sign_in`, which also asks whether the account may. A visitor's data
        is kept, another user's is not. Without `authentication` a session of the same user keeps
        its own. The caller calls `announce_end` for the old id once the new cookie is on its way,
        so that its sockets come back with that. With a `network`, sockets of
        the same user from there stay, and go on under the new id. Raises SessionEnded.
        """
        if session.record is None:
            return await self.create(
                remote_address=remote_address,
                user_agent=user_agent,
                user_id=user_id,
                user_name=user_name,
                authentication=authentication,
            )
        record = await regenerate(
            self.records,
            session.id,
            user_id,
            user_name=user_name,
            authentication=None if authentication is None else encode(authentication),
            remote_address=remote_address,
            user_agent=user_agent,
            network=network,
        )
        return Session(self.records, record)

    async def renewed(self, session: Session[D]) -> Session[D] | None:
        """Return this user's session under the id that another request has given it just now.

        Only for a user who has proven who they are in this request, since its cookie is dead.
        """
        id = session.id
        while (replacement := await self.replacements.find(id)) is not None:
            id = replacement.new_id
        found = await self.load(id)
        return found if found is not None and found.user_id == session.user_id else None

    # -- keep alive --

    def touch(self, session: Session[D]) -> None:
        """Note that a client has sent this session's cookie."""
        if session.record is None:
            return
        self.lifetimes.touch(session.record, cookie_returned=True)
        actor = actor_of(session.record.authentication)
        # an administrator is active in their own session too, while they use another one
        if actor is not None and (own := self.store.cached(actor.session_id)) is not None:
            self.lifetimes.touch(own)

    async def cookie_returned(self, session_id: str) -> None:
        """Note that a client has sent this session's cookie; do nothing if it has ended."""
        record = self.store.cached(session_id) or await self.records.find(session_id)
        if record is not None:
            self.lifetimes.touch(record, cookie_returned=True)

    async def mark_active(self, session_id: str) -> None:
        """Note that a client of this session is active; raises SessionEnded."""
        if not self.try_mark_active(session_id):
            record = await self.records.find(session_id)
            if record is None:
                raise SessionEnded(session_id)
            self.lifetimes.touch(record)

    async def mark_connection_active(self, connection: ConnectionSession) -> None:
        """Do what `mark_active` does for the session of a connection, also under a new id."""
        while not self.try_mark_active(session_id := connection.session_id):
            record = await self.records.find(session_id)
            if record is not None:
                self.lifetimes.touch(record)
                return
            if connection.session_id == session_id and (
                not await self.replacements.follow(connection)
            ):
                raise SessionEnded(session_id)

    def try_mark_active(self, session_id: str) -> bool:
        """Do what `mark_active` does, without a wait; return False if it has to be awaited."""
        cached = self.store.cached  # a local name is called faster, see `Lifetimes`
        record = cached(session_id)
        return record is not None and self.lifetimes.touch(record)

    # -- end --

    async def withdraw(self, session_id: str) -> Record | None:
        """Remove a session whose browser gets another one; return its record, if there was one.

        The caller calls `announce_end` once the new cookie is on its way.
        """
        self._endings.set_replaced(session_id, True)
        try:
            return await self._endings.remove(session_id)
        except BaseException:
            self._endings.set_replaced(session_id, False)
            raise

    async def end(self, session_id: str, reason: EndReason = "revoked") -> bool:
        """End a session: its record is removed, and its connections here are closed, on return.

        Other processes close theirs a moment later. Returns whether there was one. Raises
        StoreUnavailable, and then nothing was ended.
        """
        return await self._endings.end(session_id, reason)

    async def end_user(self, user_id: str, *, keep: str = "", reason: EndReason = "revoked") -> int:
        """End all sessions of an account but the one with the id `keep`; return how many.

        Repeats until no other session is left, so that a sign-in meanwhile is ended too. Raises
        StoreUnavailable; sessions may be left then.
        """
        ended = 0
        while True:
            others = [
                record.id for record in await self.store.of_user(user_id) if record.id != keep
            ]
            if not others:
                return ended
            # together, so that the store can write them in one transaction
            ended += sum(await asyncio.gather(*(self.end(id, reason) for id in others)))

    async def end_oldest(self, user_id: str, maximum: int, *, keep: str) -> int:
        """End the sessions of a user beyond `maximum`, but not `keep`; return how many.

        The least recently seen ones end first.
        """
        return await self._endings.end_oldest(user_id, maximum, keep=keep)

    async def purge(self, limit: int, as_of: float | None = None) -> Sequence[Record]:
        """End up to `limit` sessions that have expired, and return their records.

        `as_of` is a time, now by default. Activity from before it must have been written since.
        """
        return await self._endings.purge(limit, as_of)

    async def announce_end(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        """Tell the listeners of an end that has taken place."""
        await self._endings.announce(session_id, reason, record)

    async def announce_missing(self, session_id: str) -> None:
        """Tell the listeners of the end of a session whose record is missing."""
        await self._endings.announce_missing(session_id)
