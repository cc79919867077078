"""The number of this process (`--process-number`), which no other process on the Redis may have."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket

from app.common.background import Background
from app.common.guard import logged
from app.stores import StoreError
from app.stores.redis import scripts
from app.stores.redis.link import Link
from app.stores.redis.wire import pack

log = logging.getLogger("latchkey.processes")

_LEASE = 10.0  # seconds after which the number of a process that died is free
_LOOK_EVERY = 0.2  # seconds between two tries to get a number that is in use


class NumberTaken(ValueError):
    """Another process has this number; the message says what to do."""


class ProcessNumber:
    """A lease on the number, renewed while this process runs and given back when it stops.

    Engine.IO ids carry the number, and a proxy sends a client to its process by it. A Redis that
    was away for longer than the lease has forgotten it: then it is taken again with the next
    renewal. If another process was faster, both go on: no data depends on the number.
    """

    def __init__(self, link: Link, number: int, *, lease: float = _LEASE) -> None:
        self._link = link
        self._number = number
        self._lease = lease
        self._key = f"latchkey:number:{number}".encode()
        self._me = f"{secrets.token_hex(8)} {socket.gethostname()} pid {os.getpid()}".encode()
        self._background = Background()
        self._claimed = False
        self._lost = False

    async def claim(self) -> None:
        """Take the number; wait for the lease of a process that may have died.

        Raises NumberTaken, or StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._lease + _LOOK_EVERY
        told = False
        while not await self._take():
            if loop.time() > end:
                raise NumberTaken(
                    f"process number {self._number} is in use by {await self._holder()}; "
                    "start each process on one Redis with a --process-number of its own"
                )
            if not told:
                told = True
                log.warning(
                    "process number %d is in use by %s, waiting up to %g s",
                    *(self._number, await self._holder(), self._lease),
                )
            await asyncio.sleep(_LOOK_EVERY)
        self._claimed = True
        self._background.start(self._renew())

    async def _take(self) -> bool:
        """Take the number, or renew its lease; return whether it is ours."""
        milliseconds = str(round(self._lease * 1000))
        command = scripts.HOLD.call_on(self._key, self._me, milliseconds)
        return bool(await self._link.run(command, scripts.HOLD))

    async def _holder(self) -> str:
        """Name the process that has the number, without the random part."""
        value = await self._link.run(pack((b"GET", self._key)))
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
        """Give the number back, so that the next process need not wait."""
        await self._background.stop()
        if self._claimed:
            self._link.send(scripts.LET_GO.call_on(self._key, self._me))
