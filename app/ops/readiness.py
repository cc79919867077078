"""Readiness: whether the session store and the database of accounts can be written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from app.common.background import cancel_all
from app.common.rates import SlidingWindow

_MAX_ROUNDS, _WINDOW = 5, 2.5  # rounds in so many seconds; others get the latest result
_CHECK_TIMEOUT = 5.0  # seconds


class Readiness:
    """Runs the checks for /readyz, one round at a time and at most two a second."""

    def __init__(self, checks: Mapping[str, Callable[[], Awaitable[bool]]]) -> None:
        """`checks` are the functions to call, by the names that /readyz shows if they fail."""
        self._checks = checks
        #: Whether each check passed when it was last made.
        self.passed: dict[str, bool] = {}
        self._task: asyncio.Task[list[str]] | None = None
        self._rounds = SlidingWindow(_MAX_ROUNDS, _WINDOW)

    async def failed(self) -> list[str]:
        """Return the names of the checks that fail now, or failed a moment ago."""
        if self._task is None or (self._task.done() and not self._rounds.take("")):
            self._task = asyncio.get_running_loop().create_task(self._check())
        return await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Cancel the round in progress."""
        if self._task is not None:
            await cancel_all({self._task})

    async def _check(self) -> list[str]:
        names = list(self._checks)
        results = await asyncio.gather(*(self._passes(name) for name in names))
        return [name for name, passed in zip(names, results, strict=True) if not passed]

    async def _passes(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT):
                passed = await self._checks[name]()
        except TimeoutError:
            passed = False
        self.passed[name] = passed
        return passed
