"""The periodic callback: ends what is due, notices what vanished, and sweeps the store."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
from collections.abc import Awaitable, Collection
from typing import Any, Protocol

from app.common.background import Background, wait_until_set
from app.common.guard import logged
from app.sessions.manager import Sessions
from app.stores import Record, StoreError

log = logging.getLogger("latchkey.expiry")

_RECONCILE_EVERY = 30.0  # seconds
_BATCH = 500
_PURGE_AT_ONCE = 200
_MOST_AT_ONCE, _FEWEST_AT_ONCE = 500, 20  # records in one batch of a long sweep
_BATCH_TIME = 0.02  # seconds that a batch should take; others wait for no more than that
_PAUSE = 2.0  # pause after a batch, in times of what it took
_MOST_IDLE = 1000  # deadlines of sessions without connections that may lie in the queue
_OTHERS_FIRST = 3.0  # seconds after an outage in which nothing is over
_PURGE_EVERY = 10.0  # seconds, so that an idle server leaves its disk alone


class Connections(Protocol):
    """The open connections of this process, by session."""

    def count(self, session_id: str) -> int:
        """Return how many connections a session has."""

    def session_ids(self) -> Collection[str]:
        """Return the ids of all sessions that have connections."""


class Expiry:
    """A queue of the deadlines of the sessions that have connections in this process.

    Its cost is per session that is due, not per socket: an active session is looked at once
    per idle timeout, when its old deadline comes up and a later one is found.
    """

    def __init__(
        self, sessions: Sessions[Any], connections: Connections, *, interval: float
    ) -> None:
        """`interval` is seconds between two looks."""
        self._sessions = sessions
        self._connections = connections
        self._queue: list[tuple[float, str]] = []
        self._watched: set[str] = set()
        self._reconciled = self._purged = sessions.clock()
        self._store_is_down = False
        self._held_until = 0.0  # of the loop's clock
        self._interval = interval
        self._stopped = asyncio.Event()
        self._background = Background()
        self._sweep: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look, on the running loop."""
        self._background.start(self._run_periodically())

    def stop(self) -> None:
        """Start no more rounds; one that has begun goes on."""
        self._stopped.set()

    async def finish(self, seconds: float) -> None:
        """After `stop`, give the round under way so many seconds to announce its ends.

        A round that takes longer is cancelled.
        """
        await self._background.stop(seconds=seconds)

    async def _run_periodically(self) -> None:
        """Do one round per interval.

        Tornado's PeriodicCallback goes by the system's clock: after that was set back by two
        days, it would not call for two days.
        """
        while not await wait_until_set(self._stopped, self._interval):
            await self._run()

    def watch(self, session_id: str, deadline: float) -> None:
        """Look at this session when `deadline` (seconds since 1970) has come."""
        if session_id not in self._watched:
            self._watched.add(session_id)
            heapq.heappush(self._queue, (deadline, session_id))

    def watch_connected(self, record: Record) -> None:
        """Check a session that has a connection here when its check is due."""
        self.watch(record.id, self._sessions.lifetimes.next_look(record))

    async def resume(self) -> None:
        """After an outage: write what clients did meanwhile, and look for ends that were missed.

        What is over by what the store knows has to wait a little: other processes may have
        something to write first.
        """
        self.hold()
        self._reconciled = -math.inf
        with contextlib.suppress(StoreError):
            await self._sessions.lifetimes.flush(now=True)
        await self._run()

    def hold(self) -> None:
        """End nothing for a few seconds, in which other processes write what their clients did."""
        self._held_until = asyncio.get_running_loop().time() + _OTHERS_FIRST

    @property
    def _held(self) -> bool:
        return asyncio.get_running_loop().time() < self._held_until

    async def _run(self) -> None:
        """Do one round; a store that cannot be reached closes nobody."""
        try:
            await self.look()
        except StoreError as error:
            if not self._store_is_down:
                log.warning("sessions are not looked after until the store answers: %s", error)
            self._store_is_down = True
        except Exception:
            log.exception("a check for expired sessions failed; the next one runs as scheduled")
        else:
            if self._store_is_down:
                log.warning("the store answers again")
            self._store_is_down = False

    async def look(self) -> None:
        """End what is due now, and from time to time reconcile and purge."""
        await self._sessions.lifetimes.flush()
        now = self._sessions.clock()
        self._drop_idle()
        if not self._held:
            await self._end_due(now)
        # a clock may also be set back
        if not 0 <= now - self._reconciled < _RECONCILE_EVERY:
            await self.reconcile()
            self._reconciled = now
        due = not 0 <= now - self._purged < _PURGE_EVERY
        if due and not self._held and (self._sweep is None or self._sweep.done()):
            # `now` is the time at which connected sessions were checked
            await self._sessions.lifetimes.flush(now=True)
            gone = await self._sessions.purge(_PURGE_AT_ONCE, now)
            if len(gone) < _PURGE_AT_ONCE:
                self._purged = now
            else:
                self._sweep = self._background.start(self._sweep_on(now))

    async def _sweep_on(self, as_of: float) -> None:
        """Remove expired sessions in small batches, with pauses for other work."""
        loop, size = asyncio.get_running_loop(), _FEWEST_AT_ONCE
        try:
            while not self._stopped.is_set() and not self._held:
                began = loop.time()
                gone = await self._sessions.purge(size, as_of)
                took = loop.time() - began
                if len(gone) < size:
                    self._purged = as_of
                    return
                wanted = int(size * _BATCH_TIME / took) if took else _MOST_AT_ONCE
                size = max(_FEWEST_AT_ONCE, min(wanted, 2 * size, _MOST_AT_ONCE))
                await asyncio.sleep(took * _PAUSE)
        except StoreError as error:
            log.info("a sweep of expired sessions was interrupted: %s", error)
        except Exception:
            log.exception("a sweep of expired sessions failed; the next one follows")

    async def _end_due(self, now: float) -> None:
        due: list[str] = []
        while self._queue and self._queue[0][0] <= now:
            session_id = heapq.heappop(self._queue)[1]
            self._watched.discard(session_id)
            if self._connections.count(session_id):
                due.append(session_id)
        try:
            await self._check(due)
        except BaseException:
            for session_id in due:
                self.watch(session_id, now)
            raise

    def _drop_idle(self) -> None:
        """Forget sessions without connections once they are most of the queue."""
        connected = len(self._connections.session_ids())
        if len(self._queue) > 2 * connected + _MOST_IDLE:
            self._queue = [item for item in self._queue if self._connections.count(item[1])]
            heapq.heapify(self._queue)
            self._watched = {session_id for _, session_id in self._queue}

    async def reconcile(self) -> None:
        """Close what hangs on records that somebody removed behind this process's back."""
        await self._check(list(self._connections.session_ids()))

    async def _check(self, session_ids: list[str]) -> None:
        """Ask the store about these sessions in batches; end those that are over or gone."""
        lifetimes = self._sessions.lifetimes
        for start in range(0, len(session_ids), _BATCH):
            batch = session_ids[start : start + _BATCH]
            records = await self._sessions.store.load_many(batch)
            ends: dict[str, Awaitable[object]] = {}
            extended: list[Record] = []
            for session_id in batch:
                with logged(log, "the deadline of a session could not be checked"):
                    record = records.get(session_id)
                    if record is None:
                        ends[session_id] = self._sessions.announce_gone(session_id)
                    elif (reason := lifetimes.over(record)) is not None and not self._held:
                        ends[session_id] = self._sessions.end(session_id, reason)
                    elif lifetimes.must_extend(record):
                        extended.append(record)
                    else:
                        self.watch_connected(record)
            await self._finish(ends)
            if extended:
                for record in await lifetimes.extend(extended):
                    self.watch_connected(record)

    async def _finish(self, ends: dict[str, Awaitable[object]]) -> None:
        """Wait for all ends; one that fails is logged, and tried again in the next round.

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
