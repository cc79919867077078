"""How often one address or account may try, counted in this process."""

from __future__ import annotations

import math
import time
from collections import deque
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from app.settings import Settings

_WINDOW = 60.0  # seconds
_ACCOUNT_PAGES = 120  # a minute of one user; a page of a hundred sessions takes ten times others


@lru_cache(4096)  # each handshake asks, and reading an address takes longer than counting it
def subscriber(address: str) -> str:
    """Return what one subscriber can hardly change: the address, or of IPv6 its /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        # a socket of both families shows IPv4 as ::ffff:192.0.2.1
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return address


class Rate:
    """About `per_minute` of one kind of thing for one key, at two numbers a key.

    They are how many came in this minute, and in the one before. Of the latter
    counts the share that is less than sixty seconds old, as if it had come evenly; who comes in
    bursts may so get up to twice as many within sixty seconds.
    """

    def __init__(self, per_minute: int) -> None:
        """`per_minute` 0: no limit."""
        self._most = per_minute
        self._minute = 0.0
        self._counts: dict[str, int] = {}
        self._before: dict[str, int] = {}

    def take(self, key: str) -> int:
        """Count one; return 0, or for how many seconds this key has to wait."""
        seconds = self.wait(key)
        if not seconds and self._most:
            self._counts[key] = self._counts.get(key, 0) + 1
        return seconds

    def wait(self, key: str) -> int:
        """Return for how many seconds this key has to wait; 0: it may go on now."""
        if not self._most:
            return 0
        minute, second = divmod(time.monotonic(), 60)  # no clock that somebody sets
        if minute != self._minute:
            self._before = self._counts if minute == self._minute + 1 else {}
            self._counts, self._minute = {}, minute
        left = self._most - self._counts.get(key, 0)
        before = self._before.get(key, 0)
        if before * (60 - second) < left * 60:
            return 0
        until = 60 - left * 60 / before if left else 60  # second of this minute
        return math.floor(until - second) + 1


class ExactRate:
    """At most `per_minute` for one key in any sixty seconds, for rates that are low.

    It remembers the time of each hit. `MAX_KEYS` bounds the memory, since strangers can think
    up any number of keys: beyond it, the key whose last hit is oldest is forgotten.
    """

    MAX_KEYS = 100_000

    def __init__(self, per_minute: int) -> None:
        """`per_minute` 0: no limit."""
        self._most = per_minute
        # the times of the latest hits of each key; the key with the oldest last hit is first
        self._hits: dict[str, deque[float]] = {}

    def hit(self, key: str) -> None:
        """Count one."""
        if not self._most:
            return
        now = time.monotonic()
        times = self._hits.pop(key, None) or deque(maxlen=self._most)
        times.append(now)
        self._hits[key] = times
        self._forget(now)

    def wait(self, key: str) -> int:
        """Return for how many seconds this key has to wait; 0: it may go on now."""
        times = self._hits.get(key)
        if times is None or len(times) < self._most:
            return 0
        return max(0, math.ceil(times[0] + _WINDOW - time.monotonic()))

    def _forget(self, now: float) -> None:
        """Drop the keys whose last hit is out of the window, and those that are too many."""
        while True:
            oldest = next(iter(self._hits))
            if len(self._hits) <= self.MAX_KEYS and self._hits[oldest][-1] + _WINDOW > now:
                return
            del self._hits[oldest]


def in_words(seconds: int) -> str:
    """Return how long that is, for a person who has to wait."""
    return f"{seconds} second" if seconds == 1 else f"{seconds} seconds"


def _tries(address: str, account: str, device: str) -> list[str]:
    """Return the keys against which one login is counted."""
    if device:
        return ["device " + device]
    return ["address " + subscriber(address), "account " + account]


class Limits:
    """The rates of this application."""

    def __init__(self, settings: Settings) -> None:
        self._handshakes = Rate(settings.handshakes_per_minute)
        self._new_sessions = Rate(settings.handshakes_per_minute)
        self._failures = ExactRate(settings.failed_logins_per_minute)
        self._account_pages = Rate(_ACCOUNT_PAGES)

    def handshake(self, address: str) -> int:
        """Count a handshake; return 0, or for how many seconds this address has to wait."""
        return self._handshakes.take(subscriber(address))

    def account_page(self, user: str) -> int:
        """Count a request of this user for the account page or one of its forms.

        Returns 0, or for how many seconds the user has to wait.
        """
        return self._account_pages.take(user)

    def new_session(self, address: str) -> int:
        """Count a session that a page makes; return 0, or for how many seconds to wait."""
        return self._new_sessions.take(subscriber(address))

    def new_session_wait(self, address: str) -> int:
        """Return 0, or for how many seconds no page makes a session for this address."""
        return self._new_sessions.wait(subscriber(address))

    def login_wait(self, address: str, account: str, device: str = "") -> int:
        """Return 0, or for how many seconds this address, or this account, may not be tried.

        A `device` that is known to the account has tries of its own, and only those: neither
        strangers who try the account nor neighbours behind one address can use them up.
        """
        return max(self._failures.wait(key) for key in _tries(address, account, device))

    def login_failed(self, address: str, account: str, device: str = "") -> None:
        """Count a failed login against the address and the account, or against the device."""
        for key in _tries(address, account, device):
            self._failures.hit(key)

    def password_wait(self, account: str) -> int:
        """Return 0, or for how many seconds who is signed in may not try his password again."""
        return self._failures.wait("signed in " + account)

    def password_failed(self, account: str) -> None:
        """Count a wrong password of somebody who is signed in to this account."""
        self._failures.hit("signed in " + account)
