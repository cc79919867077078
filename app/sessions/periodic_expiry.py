"""The periodic callback that ends sessions in time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, Protocol

from app.common.background import Background, wait_until_set
from app.common.log_and_continue import logged
from app.sessions.authentication import actor_of
from app.sessions.deadline_queue import DeadlineQueue
from app.sessions.manager import Sessions
from app.sessions.sweep import Sweep
from app.stores import Record, StoreError

log = logging.getLogger("latchkey.expiry")

_RECONCILE_INTERVAL = 30.0  # seconds
_BATCH_SIZE = 500
_MAX_UNCONNECTED = 1000  # sessions without connections that may stay in the queue
# Seconds after an outage in which no session is ended, so that other processes can write what
# their clients did.
_HOLD_TIMEOUT = 3.0


class Connections(Protocol):
    """The open connections of this process, by session."""

    def count(self, session_id: str) -> int:
        """Return how many connections a session has."""
        ...

    def session_ids(self) -> Collection[str]:
        """Return the ids of all sessions that have connections."""
        ...


class Expiry:
    """Ends connected sessions that reach a limit or lose their record, and sweeps the store.

    Its cost is per session that is due, not per socket: an active session is checked once per
    idle timeout, when its old deadline has come and a later one is found.
    """

    def __init__(
        self, sessions: Sessions[Any], connections: Connections, *, interval: float
    ) -> None:
        """`interval` is the time between two rounds, in seconds."""
        self._sessions = sessions
        self._connections = connections
        self._interval = interval
        self._queue = DeadlineQueue()
        self._reconciled = sessions.clock()
        self._store_is_down = False
        self._held_until = 0.0  # of the loop's clock
        self._stopped = asyncio.Event()
        self._background = Background()
        self._sweep = Sweep(
            sessions, self._background, lambda: self._held or self._stopped.is_set()
        )

    # -- life --

    def start(self) -> None:
        """Begin the rounds, on the running loop."""
        self._background.start(self._run_periodically())

    def stop(self) -> None:
        """Start no more rounds; one that has begun goes on."""
        self._stopped.set()

    async def finish(self, seconds: float) -> None:
        """After `stop`, give the round under way so many seconds to announce its ends.

        A round that takes longer is cancelled.
        """
        await self._background.stop(seconds=seconds)

    async def resume(self) -> None:
        """After an outage, write the activity noted meanwhile and look for missed ends.

        Sessions that have expired by the store's record end a little later: other processes may
        have activity to write first.
        """
        self.hold()
        self._reconciled = -math.inf
        with contextlib.suppress(StoreError):
            await self._sessions.lifetimes.activity.flush(force=True)
        await self.try_round()

    def hold(self) -> None:
        """End no session for a few seconds, so that other processes can write their activity."""
        self._held_until = asyncio.get_running_loop().time() + _HOLD_TIMEOUT

    @property
    def _held(self) -> bool:
        return asyncio.get_running_loop().time() < self._held_until

    @property
    def paused(self) -> bool:
        """Whether nothing is ended, because the store is down."""
        return self._store_is_down

    @property
    def lag(self) -> float:
        """Return how many seconds ago the store was last without expired records."""
        return max(0.0, self._sessions.clock() - self._sweep.done_at)

    # -- sessions to check --

    def watch(self, session_id: str, deadline: float) -> None:
        """Check this session when `deadline` (seconds since 1970) has come."""
        self._queue.add(session_id, deadline)

    def watch_connected(self, record: Record) -> None:
        """Check a session that has a connection here when its check is due."""
        self.watch(record.id, self._sessions.lifetimes.next_check(record))

    # -- rounds --

    async def _run_periodically(self) -> None:
        """Do one round per interval.

        Tornado's PeriodicCallback goes by the system's clock: after that was set back by two
        days, it would not call for two days.
        """
        while not await wait_until_set(self._stopped, self._interval):
            await self.try_round()

    async def try_round(self) -> None:
        """Do one round and log its failure; while the store is down, sockets stay open."""
        try:
            await self.run_round()
        except StoreError as error:
            if not self._store_is_down:
                log.warning("session store unavailable, expiry paused until it answers: %s", error)
            self._store_is_down = True
        except Exception:
            log.exception("check for expired sessions failed, the next one runs as scheduled")
        else:
            if self._store_is_down:
                log.warning("session store available again, expiry resumed")
            self._store_is_down = False

    async def run_round(self) -> None:
        """End the sessions that are due, and from time to time reconcile and sweep."""
        await self._sessions.lifetimes.activity.flush()
        now = self._sessions.clock()
        self._drop_unconnected()
        if not self._held:
            await self._end_due(now)
        # the clock may also be set back
        if not 0 <= now - self._reconciled < _RECONCILE_INTERVAL:
            await self.reconcile()
            self._reconciled = now
        await self._sweep.start_if_due(now)

    async def reconcile(self) -> None:
        """End the connected sessions whose records were removed by others."""
        await self.check(list(self._connections.session_ids()))

    async def check(self, session_ids: Sequence[str]) -> None:
        """Load these sessions in batches; end those that reached a limit or have no record."""
        for start in range(0, len(session_ids), _BATCH_SIZE):
            await self._check_batch(session_ids[start : start + _BATCH_SIZE])

    async def _end_due(self, now: float) -> None:
        due = [id for id in self._queue.pop_due(now) if self._connections.count(id)]
        try:
            await self.check(due)
        except BaseException:
            for session_id in due:
                self.watch(session_id, now)
            raise

    def _drop_unconnected(self) -> None:
        """Forget sessions without connections once they are most of the queue."""
        connected = len(self._connections.session_ids())
        if len(self._queue) > 2 * connected + _MAX_UNCONNECTED:
            self._queue.retain(lambda session_id: self._connections.count(session_id) > 0)

    async def _check_batch(self, session_ids: Sequence[str]) -> None:
        lifetimes = self._sessions.lifetimes
        records = await self._sessions.store.load_many(session_ids)
        ends: dict[str, Awaitable[object]] = {}
        to_extend: list[Record] = []
        for session_id in session_ids:
            with logged(log, "the deadline of a session could not be checked"):
                record = records.get(session_id)
                if record is None:
                    ends[session_id] = self._sessions.announce_missing(session_id)
                elif (reason := lifetimes.limit_reached(record)) is not None and not self._held:
                    ends[session_id] = self._sessions.end(session_id, reason)
                elif lifetimes.must_extend(record):
                    to_extend.append(record)
                else:
                    self.watch_connected(record)
                    if actor_of(record.authentication) is not None:
                        # which ends it if the administrator's own session has ended
                        ends[session_id] = self._sessions.records.find(session_id)
        await self._await_ends(ends)
        if to_extend:
            for record in await lifetimes.extend(to_extend):
                self.watch_connected(record)

    async def _await_ends(self, ends: dict[str, Awaitable[object]]) -> None:
        """Wait for all ends; log one that fails, and try it again in the next round.

        Raises StoreError if the store failed for one of them.
        """
        down: StoreError | None = None
        results = await asyncio.gather(*ends.values(), return_exceptions=True)
        for session_id, result in zip(ends, results, strict=True):
            if isinstance(result, StoreError):
                down = result
            elif isinstance(result, Exception):
                log.error("a session could not be ended", exc_info=result)
                self.watch(session_id, self._sessions.clock())
            elif isinstance(result, BaseException):
                raise result
        if down is not None:
            raise down
