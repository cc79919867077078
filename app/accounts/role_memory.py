"""The roles of users whose events come now, remembered for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Roles = frozenset[str]

_LIFETIME = 1.0  # seconds from the begin of a reading
_MAX_ACCOUNTS = 10_000


class RoleMemory:
    """Reads the roles of an account once a second, however many events ask for them."""

    def __init__(self, read: Callable[[str], Awaitable[Roles]]) -> None:
        """`read` returns the roles of an account as they are now."""
        self._read = read
        self._readings: dict[str, _Reading] = {}  # by account id, the oldest first

    async def of(self, account_id: str) -> Roles:
        """Return the roles of an account; raises what `read` raises, and then remembers nothing."""
        now = asyncio.get_running_loop().time()
        reading = self._readings.get(account_id)
        if reading is None or reading.expires <= now:
            reading = self._begin(account_id, now)
        try:
            return await asyncio.shield(reading.roles)
        except Exception:
            if self._readings.get(account_id) is reading:
                self.forget(account_id)
            raise

    def forget(self, account_id: str) -> None:
        """Read anew; those who wait for a reading that has begun get its result."""
        self._readings.pop(account_id, None)

    def _begin(self, account_id: str, now: float) -> _Reading:
        self.forget(account_id)
        if len(self._readings) >= _MAX_ACCOUNTS:
            self.forget(next(iter(self._readings)))
        reading = self._readings[account_id] = _Reading(
            asyncio.ensure_future(self._read(account_id)), now + _LIFETIME
        )
        return reading


class _Reading:
    """Roles that are read, or were, and how long they count."""

    __slots__ = ("expires", "roles")

    def __init__(self, roles: asyncio.Future[Roles], expires: float) -> None:
        self.roles = roles
        self.expires = expires
