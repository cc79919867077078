"""A periodic job that runs in one process of the site at a time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from app.common.background import CLEANUP_TIMEOUT, cancel_all
from app.jobs import next_due
from app.stores import StoreError
from app.stores.redis import RedisClient
from app.stores.redis.script import Script

log = logging.getLogger("latchkey.jobs")

_LEAD = Script.read("app.cluster", "lead")
_MIN_LEASE, _MAX_LEASE = 1.5, 30.0  # seconds
_LEASE_IN_INTERVALS = 1.5
_BEATS = 4  # heartbeats in a lease
_SAFE_PART = 0.75  # of a lease; a process that could not renew for so long stops its work
_ABSENT = "absent"
_NOBODY = "-" * 16

Work = Callable[[], Coroutine[Any, Any, None]]


class SiteJob:
    """One job and the lease on it.

    The process that leads the job runs it, and renews its lease by heartbeats. The others watch the
    heartbeats, and one of them takes over when there was none for the whole lease. All times are
    differences of the loop's clock, so neither a step of the system's clock nor one of Redis's
    clock matters. The leader cancels its work before its lease can end elsewhere.

    The heartbeats carry the time until the next run, so that the interval goes on when another
    process takes over, or when a process is restarted.
    """

    def __init__(self, client: RedisClient, name: str, seconds: float) -> None:
        """`seconds` is the interval."""
        self._client = client
        self._name = name
        self._seconds = seconds
        self._lease = min(max(seconds * _LEASE_IN_INTERVALS, _MIN_LEASE), _MAX_LEASE)
        self._beat = self._lease / _BEATS
        self._key = f"latchkey:job:{name}".encode()
        self._owner = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._running: asyncio.Task[None] | None = None

    async def run(self, work: Work) -> None:
        """Run the work every so many seconds in one process of the site, until cancelled."""
        while True:
            safe_until = await self._become_leader()
            try:
                await self._lead(safe_until, work)
            except asyncio.CancelledError:
                await self._give_up()
                raise
            log.warning("another process may run this job now job=%s", self._name)

    async def _become_leader(self) -> float:
        """Wait until this process leads; return until when it may run the work."""
        # A first run finds no value. A value that vanishes later was lost by Redis, and the leader
        # will write it again.
        replaceable, seen, since = _ABSENT, "", 0.0
        while True:
            sent = self._loop.time()
            answer = await self._ask(replaceable)
            if answer is not None:
                leads, value = answer
                if value != seen:
                    seen, since = value, self._loop.time()
                    self._follow(value)
                if leads:
                    return sent + self._lease * _SAFE_PART
                replaceable = seen if self._loop.time() - since >= self._lease else ""
            await asyncio.sleep(self._beat)

    async def _lead(self, safe_until: float, work: Work) -> None:
        """Renew the lease and run the work when it is due; return if the lease is lost."""
        next_beat = self._loop.time() + self._beat
        try:
            while True:
                await self._run_or_sleep(work, next_beat, safe_until)
                sent = self._loop.time()
                if sent < next_beat:
                    continue
                next_beat = sent + self._beat
                answer = await self._ask_until(safe_until)
                if answer is not None and answer[0]:
                    safe_until = sent + self._lease * _SAFE_PART
                elif answer is not None or self._loop.time() >= safe_until:
                    return
        finally:
            if self._running is not None:
                await cancel_all({self._running}, cleanup=CLEANUP_TIMEOUT)

    async def _run_or_sleep(self, work: Work, next_beat: float, safe_until: float) -> None:
        """Start the work if it is due, else sleep until it is, or until the next heartbeat."""
        now = self._loop.time()
        if self._running is not None and not self._running.done():
            await asyncio.wait({self._running}, timeout=max(next_beat - now, 0))
        elif self._due <= now < safe_until:
            self._running = self._loop.create_task(self._run_once(work))
        else:
            await asyncio.sleep(max(min(next_beat, max(self._due, now)) - now, 0))

    async def _run_once(self, work: Work) -> None:
        due, self._due = self._due, self._due + self._seconds
        await work()
        self._due = next_due(due, self._seconds, self._loop.time())

    async def _ask_until(self, time: float) -> tuple[bool, str] | None:
        """Renew the lease; return None if Redis does not answer by this time of the loop."""
        try:
            async with asyncio.timeout_at(time):
                return await self._ask(_ABSENT)
        except TimeoutError:
            return None

    async def _ask(self, replaceable: str) -> tuple[bool, str] | None:
        """Ask for the lead; return whether it is ours and the value found, or None: no answer."""
        value = f"{self._owner} {next(self._numbers)} {self._left()}"
        with contextlib.suppress(StoreError):
            leads, found = await self._client.run(
                _LEAD, (self._key,), self._owner, value, replaceable
            )
            return bool(leads), found.decode()
        return None

    async def _give_up(self) -> None:
        """Let another process lead at once, if the work has ended here."""
        if not self._client.connected or (self._running is not None and not self._running.done()):
            return
        value = f"{_NOBODY} {next(self._numbers)} {self._left()}"
        with contextlib.suppress(StoreError):
            await self._client.run(_LEAD, (self._key,), self._owner, value, "")

    def _left(self) -> int:
        """Return the milliseconds until the next run."""
        return max(round((self._due - self._loop.time()) * 1000), 0)

    def _follow(self, value: str) -> None:
        """Take over the time of the next run from what another process wrote."""
        owner, _, rest = value.partition(" ")
        left = rest.rpartition(" ")[2]
        if left.isdecimal() and owner != self._owner:
            self._due = self._loop.time() + min(int(left) / 1000, self._seconds)
