"""Rate limits that all processes count together, in Redis."""

from __future__ import annotations

import logging
import math
import time

from app.common.rates import MINUTE, ProcessRate
from app.stores import StoreError
from app.stores.redis import RedisClient
from app.stores.redis.script import Script

log = logging.getLogger("latchkey.rates")

_RATE = Script.read("app.cluster", "rate")
_MAX_REFUSED = 10_000  # keys whose wait is remembered


class SharedRates:
    """Makes the shared rates of one process. While Redis is away, each process counts alone."""

    def __init__(self, client: RedisClient) -> None:
        self.client = client
        self._away = False

    def make(self, name: str, maximum: int, seconds: float = MINUTE) -> SharedRate:
        """Return the rate of this name, which the processes share."""
        return SharedRate(self, name, maximum, seconds)

    def answered(self) -> None:
        """Note that Redis counts."""
        if self._away:
            log.info("rate limits count for all processes again")
        self._away = False

    def failed(self, error: StoreError | None) -> None:
        """Note that Redis does not count; log it once."""
        if not self._away:
            why = error or "no connection"
            log.warning(
                "rate limits are counted in each process alone until Redis answers: %s", why
            )
        self._away = True


class SharedRate:
    """A `Rate` in Redis, which this process counts as well, for the time that Redis is away.

    Redis is asked with every call, a round trip. A wait that it named is remembered, so that a
    flood of refused clients does not reach it.
    """

    def __init__(self, rates: SharedRates, name: str, maximum: int, seconds: float) -> None:
        self._rates = rates
        self._name = name
        self._maximum = maximum
        self._window = int(seconds * 1000)  # milliseconds
        self._own = ProcessRate(name, maximum, seconds)
        self._refused: dict[tuple[str, ...], float] = {}  # monotonic times until which keys wait

    async def take(self, *keys: str) -> int:
        seconds = await self._ask("take", keys)
        if seconds is None:
            return await self._own.take(*keys)
        if not seconds:
            await self._own.hit(*keys)
        return seconds

    async def wait(self, *keys: str) -> int:
        seconds = await self._ask("wait", keys)
        return await self._own.wait(*keys) if seconds is None else seconds

    async def hit(self, *keys: str) -> None:
        await self._own.hit(*keys)
        await self._ask("hit", keys)

    async def _ask(self, what: str, keys: tuple[str, ...]) -> int | None:
        """Run the script; return the seconds to wait, or None if Redis does not answer."""
        if not self._maximum:
            return 0
        if what != "hit" and (left := self._refused.get(keys, 0.0) - time.monotonic()) > 0:
            return math.ceil(left)
        if not self._rates.client.connected:
            self._rates.failed(None)
            return None
        names = tuple(f"latchkey:rate:{self._name}:{key}" for key in keys)
        try:
            wait: int = await self._rates.client.run(
                _RATE, names, self._maximum, self._window, what
            )
        except StoreError as error:
            self._rates.failed(error)
            return None
        self._rates.answered()
        if wait > 0:
            self._remember(keys, wait / 1000)
        return math.ceil(wait / 1000)

    def _remember(self, keys: tuple[str, ...], seconds: float) -> None:
        if len(self._refused) >= _MAX_REFUSED:
            self._refused.clear()
        self._refused[keys] = time.monotonic() + seconds
