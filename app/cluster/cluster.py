"""The other processes of this site: what this one shares with them over one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from app.cluster.account_change_broadcast import AccountChangeBroadcast
from app.cluster.device_changes import DeviceChanges, Watchers
from app.cluster.presence import Connections, Presence
from app.cluster.process_number import ProcessNumber
from app.cluster.rooms import RedisRooms
from app.cluster.session_end_broadcast import Expiry, SessionEnds
from app.cluster.session_replacements import SessionReplacements
from app.cluster.shared_counts import RedisCounts
from app.cluster.shared_rates import SharedRates
from app.cluster.site_job import SiteJob, Work
from app.cluster.user_presence import UserPresence
from app.common.background import Background
from app.common.log_and_continue import logged
from app.common.rates import MINUTE, Rate
from app.ops.keys import description, warn_of_conflict
from app.sessions.end_reason import EndReason
from app.sessions.manager import Sessions
from app.sessions.session import Session
from app.stores import Record, StoreError
from app.stores.redis import RedisClient, RedisStore

log = logging.getLogger("latchkey.cluster")

_COUNT_INTERVAL = 1.0  # seconds


class Cluster:
    """The processes over one Redis: sessions, emits, rates, ends, presence, device changes.

    `make_app` builds it, passes its parts on, calls `join`, and registers the listeners
    `session_ended`, `connections_changed`, `signed_in` and `account_changed`.
    """

    def __init__(self, url: str, process_number: int) -> None:
        """Raises InvalidRedisUrl, a ValueError."""
        self.client = RedisClient(url)
        self.store = RedisStore(self.client)
        self.rooms = RedisRooms(self.client)
        self.users = UserPresence(self.client)
        self.counts = RedisCounts(self.client)
        self._rates = SharedRates(self.client)
        self._process_number = process_number
        self._number = ProcessNumber(self.client, process_number)
        self._background = Background()

    def presence(self, connections: Connections, keys: Sequence[str]) -> Presence:
        """Return the presence of all processes; `connections` are those of this one.

        `keys` sign cookies; `start` compares them with those of the other processes.
        """
        self._keys = description(keys)
        self._presence = Presence(self.client, connections, self._keys, self._process_number)
        return self._presence

    def join(
        self,
        sessions: Sessions[Any],
        expiry: Expiry,
        watchers: Watchers,
        account_changed: Callable[[str], Awaitable[None]],
    ) -> None:
        """Listen to the other processes; call it once, after `presence`.

        `account_changed` is called with the id of an account that another process has changed.
        """
        self._account_changes = AccountChangeBroadcast(self.client, account_changed)
        self._ends = SessionEnds(self.client, sessions, expiry)
        self._device_changes = DeviceChanges(self.client, watchers)
        self.client.subscribe(
            *self.store.subscribers,
            self.rooms.subscriber(),
            self._presence.subscriber(),
            SessionReplacements(sessions).subscriber(),
            self._ends.subscriber(),
            self._device_changes.subscriber(),
            self._account_changes.subscriber(),
        )

    def use_keys(self, keys: Sequence[str]) -> None:
        """Tell the other processes which keys this one accepts from now on."""
        self._keys = description(keys)
        self._presence.describe(self._keys)
        self._background.start(self._compare_keys())

    async def accepted_keys(self) -> list[tuple[str, str]]:
        """Return the number of each running process, and the `description` of its keys.

        Raises StoreError.
        """
        return await self._presence.abouts()

    def make_rate(self, name: str, maximum: int, seconds: float = MINUTE, /) -> Rate:
        """Return the rate limit of this name, which the processes share."""
        return self._rates.make(name, maximum, seconds)

    async def repeat(self, name: str, seconds: float, work: Work) -> None:
        """Run a work every `seconds` in one of the processes, until cancelled."""
        await SiteJob(self.client, name, seconds).run(work)

    # -- listeners --

    def session_ended(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        """Tell the other processes that a session has ended in this one."""
        self._ends.publish(session_id, reason, record)

    def connections_changed(self, session_id: str) -> None:
        """Tell the other processes that a connection of this session came, went or upgraded."""
        self._presence.changed(session_id)
        self._device_changes.connections_changed(session_id)

    def signed_in(self, session: Session[Any]) -> None:
        """Tell the other processes that a user has signed in."""
        self._device_changes.signed_in(session)

    def account_changed(self, account_id: str) -> None:
        """Tell the other processes that an account was changed or deleted in this one."""
        self._account_changes.publish(account_id)

    # -- life --

    async def start(self) -> None:
        """Connect and take the number; raises StoreUnavailable or NumberTaken."""
        await self.client.open()
        await self._number.claim()
        self._presence.start()
        await self._compare_keys()
        self._background.start(self._count_others())

    async def connect(self) -> None:
        """Connect without a process number, for a command; raises StoreUnavailable."""
        await self.client.open()

    async def stop(self) -> None:
        """Free the number and remove the presence; closing the store closes the client."""
        await self._number.release()
        await self._background.stop()
        await self._ends.stop()
        await self._account_changes.stop()
        self._device_changes.stop()
        self.rooms.stop()
        await self._presence.stop()

    async def _compare_keys(self) -> None:
        """Warn of a process that does not accept the cookies of this one, or the reverse."""
        with contextlib.suppress(StoreError):
            warn_of_conflict(self._keys, await self._presence.others())

    async def _count_others(self) -> None:
        """Notice when this process has become the only one."""
        while True:
            with (
                logged(log, "the other processes could not be counted"),
                contextlib.suppress(StoreError),
            ):
                await self.rooms.count_others()
            await asyncio.sleep(_COUNT_INTERVAL)
