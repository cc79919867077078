"""Mails that wait for the server of --mail."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage

from app.common.background import Background, wait_until_set
from app.common.rate_limited_log import RateLimitedLog
from app.mail.message import recipient_domain
from app.mail.smtp import MailNotSent, MailRefused

log = logging.getLogger("latchkey.mail")

_MAX_WAITING = 1000  # mails
_CONNECTIONS = 2  # to the server at a time
#: Seconds before each repetition: most links are too old an hour later.
_DELAYS = (5.0, 30.0, 120.0, 600.0, 1800.0)


class Outbox:
    """Sends mails one after the other, and those that the server does not take once more later.

    They are in memory: a process that dies loses those that wait.
    """

    def __init__(
        self,
        send: Callable[[EmailMessage], Awaitable[None]],
        counts: Counter[str],
        *,
        delays: Sequence[float] = _DELAYS,
    ) -> None:
        """`send` raises MailRefused or MailNotSent; `counts` are mails by result."""
        self._send = send
        self._counts = counts
        self._delays = tuple(delays)
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._stopping = asyncio.Event()
        self._tasks = Background()
        self._waiting = 0
        self._full = RateLimitedLog(log)
        self._failures = RateLimitedLog(log)

    def __len__(self) -> int:
        """Return the number of mails that wait or are being sent."""
        return self._waiting

    def add(self, message: EmailMessage) -> bool:
        """Take a mail, without waiting; return False if too many wait already."""
        if self._waiting >= _MAX_WAITING or self._stopping.is_set():
            self._counts["dropped"] += 1
            why = f"{self._waiting} mails wait already"
            self._full.add("a mail was dropped", why)
            return False
        self._waiting += 1
        self._tasks.start(self._deliver(message))
        return True

    async def stop(self, seconds: float) -> None:
        """Try each mail that waits once more, for this time at most; then give them up."""
        self._stopping.set()
        await self._tasks.stop(seconds=seconds)
        if self._waiting:
            log.error("mails are lost, because the process stops number=%d", self._waiting)

    async def _deliver(self, message: EmailMessage) -> None:
        result = await self._try(message)
        self._counts[result] += 1
        self._waiting -= 1

    async def _try(self, message: EmailMessage) -> str:
        """Return "sent", "refused" or "given up"."""
        domain = recipient_domain(message)
        for delay in (0.0, *self._delays):
            last = bool(delay) and await wait_until_set(self._stopping, delay)
            try:
                async with self._turns:
                    await self._send(message)
            except MailRefused as error:
                log.warning("the mail server refuses a mail domain=%s why=%s", domain, error)
                return "refused"
            except MailNotSent as error:
                self._counts["tried again"] += 1
                self._failures.add("the mail server did not take a mail", str(error))
            else:
                return "sent"
            if last:
                break
        log.error("a mail was given up, the mail server did not take it domain=%s", domain)
        return "given up"
