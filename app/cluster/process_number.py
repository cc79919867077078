"""The number of this process (`--process-number`), unique among the processes of one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket

from app.common.background import Background
from app.common.log_and_continue import logged
from app.stores import StoreError
from app.stores.redis import RedisClient
from app.stores.redis.script import Script

log = logging.getLogger("latchkey.processes")

_HOLD = Script.read("app.cluster", "hold")
_FREE = Script.read("app.cluster", "free")
_LEASE_TIMEOUT = 10.0  # seconds after which the number of a process that died is free
_RETRY_INTERVAL = 0.2  # seconds


class NumberTaken(ValueError):
    """Another process has this number; the message says what to do."""


class ProcessNumber:
    """A lease on the number, renewed while this process runs and freed when it stops.

    Engine.IO ids carry the number, and a proxy sends a client to its process by it. If Redis was
    away for longer than the lease, the next renewal takes the number again. If another process
    has taken it meanwhile, both go on, since no data depends on the number.
    """

    def __init__(self, client: RedisClient, number: int, *, lease: float = _LEASE_TIMEOUT) -> None:
        self._client = client
        self._number = number
        self._lease = lease
        self._key = f"latchkey:number:{number}".encode()
        self._owner = f"{secrets.token_hex(8)} {socket.gethostname()} pid {os.getpid()}".encode()
        self._background = Background()
        self._claimed = False
        self._lost = False

    async def claim(self) -> None:
        """Take the number; wait for the lease of a process that may have died.

        Raises NumberTaken, or StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lease + _RETRY_INTERVAL
        warned = False
        while not await self._take():
            if loop.time() > end:
                raise NumberTaken(
                    f"process number {self._number} is in use by {await self._holder()}; "
                    "start each process on one Redis with a --process-number of its own"
                )
            if not warned:
                warned = True
                log.warning(
                    "process number %d is in use by %s, waiting up to %g s",
                    *(self._number, await self._holder(), self._lease),
                )
            await asyncio.sleep(_RETRY_INTERVAL)
        self._claimed = True
        self._background.start(self._renew())

    async def _take(self) -> bool:
        """Take the number, or renew its lease; return whether it is ours."""
        milliseconds = round(self._lease * 1000)
        return bool(await self._client.run(_HOLD, (self._key,), self._owner, milliseconds))

    async def _holder(self) -> str:
        """Describe the process that has the number: its host and pid."""
        value = await self._client.execute("GET", self._key)
        return (value or b"? a process that has just ended").decode().partition(" ")[2]

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease / 4)
            with (
                logged(log, "process number %d could not be renewed", self._number),
                contextlib.suppress(StoreError),
            ):
                ours = await self._take()
                if not ours and not self._lost:
                    log.error(
                        "process number %d was taken by %s while the Redis was away or this "
                        "process was suspended; clients may be sent to the wrong process; restart "
                        "one with another --process-number",
                        *(self._number, await self._holder()),
                    )
                self._lost = not ours

    async def release(self) -> None:
        """Free the number, so that the next process need not wait."""
        await self._background.stop()
        if self._claimed:
            with contextlib.suppress(StoreError):
                await self._client.run(_FREE, (self._key,), self._owner)
