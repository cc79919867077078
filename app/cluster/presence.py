"""The connections of sessions in all processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Collection, Sequence
from typing import Protocol

from app.common.background import Background, wait_until_set
from app.common.log_and_continue import logged
from app.stores import StoreError
from app.stores.redis import RedisClient
from app.stores.redis.connection import Word
from app.stores.redis.script import Script
from app.stores.redis.subscriptions import Subscriber

log = logging.getLogger("latchkey.presence")

_PROCESSES = "latchkey:processes"
_PROCESS = "latchkey:process:"
_PRESENT = Script.read("app.cluster", "present")
_ALL = Script.read("app.cluster", "processes")
_PRESENCE_TIMEOUT = 30  # seconds after which Redis forgets a process that died
_HEARTBEAT_INTERVAL = 10.0  # seconds
_BATCH_INTERVAL = 0.05  # seconds in which changes wait for each other
_BATCH = 500  # sessions


class Connections(Protocol):
    """The connections of this process."""

    def session_ids(self) -> Collection[str]:
        """Return the ids of the sessions that have connections."""
        ...

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any."""
        ...


class Presence:
    """The connections of every process; each process keeps its own list in Redis.

    A list is a hash of session ids and transports, which Redis forgets 30 s after the last
    heartbeat of its process. Only changes are written, so idle connections cost nothing.
    """

    def __init__(
        self, client: RedisClient, connections: Connections, about: str = "", number: int = 0
    ) -> None:
        """`about` describes this process to the others: see `others`; `number` is its own."""
        self._client = client
        self._connections = connections
        self._about = about
        self._number = str(number)
        self._process = secrets.token_hex(8)
        self._key = _PROCESS + self._process
        self._changed: set[str] = set()
        self._dirty = asyncio.Event()
        self._started = False
        self._background = Background()

    def subscriber(self) -> Subscriber:
        """Return what the client has to tell."""
        return Subscriber(connected=self._connected)

    def changed(self, session_id: str) -> None:
        """Write the connections of this session soon."""
        self._changed.add(session_id)
        self._dirty.set()

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any.

        If Redis is away, these are the connections of this process.
        """
        found = await self._connections.transports(session_ids)
        with contextlib.suppress(StoreError):
            for start in range(0, len(session_ids), _BATCH):
                ids = session_ids[start : start + _BATCH]
                for lists in await self._client.run(_PRESENT, (), self._process, *ids):
                    for id, transports in zip(ids, lists, strict=True):
                        if transports:
                            found.setdefault(id, []).extend(transports.decode().split())
        return found

    async def processes(self) -> list[tuple[str, int]]:
        """Return the number of each running process, and how many connections it has.

        The number is empty for a process of an older release. Raises StoreError.
        """
        found = await self._client.run(_ALL, ())
        return sorted((number.decode(), connections) for number, connections in found)

    async def others(self) -> list[str]:
        """Return the `about` of each other running process; raises StoreError."""
        found = await self._descriptions()
        return [about for name, _, about in found if name != self._process]

    async def abouts(self) -> list[tuple[str, str]]:
        """Return the number and the `about` of each running process; raises StoreError."""
        return [(number, about) for _, number, about in await self._descriptions()]

    def describe(self, about: str) -> None:
        """Describe this process otherwise from now on."""
        self._about = about
        if self._started and self._client.connected:
            self._client.send("HSET", self._key, "", about)

    def start(self) -> None:
        """Write from now on, on the running loop."""
        self._started = True
        self._background.start(self._run())

    async def stop(self) -> None:
        """Remove the list of this process."""
        await self._background.stop()
        self._client.send("DEL", self._key)
        self._client.send("SREM", _PROCESSES, self._process)

    async def _descriptions(self) -> list[tuple[str, str, str]]:
        """Return the name, the number and the `about` of each running process."""
        names = [name.decode() for name in await self._client.execute("SMEMBERS", _PROCESSES)]
        asked = (self._client.execute("HMGET", _PROCESS + name, "#", "") for name in names)
        found = zip(names, await asyncio.gather(*asked), strict=True)
        return [
            (name, (number or b"").decode(), about.decode())
            for name, (number, about) in found
            if about is not None
        ]

    async def _run(self) -> None:
        """Write changes, and heartbeats."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while True:
            with (
                logged(log, "the connections of this process could not be written"),
                contextlib.suppress(StoreError),
            ):
                if loop.time() >= next_beat:
                    next_beat = loop.time() + _HEARTBEAT_INTERVAL
                    if await self._client.execute("HGET", self._key, "") is None:
                        self._write_anew()  # Redis forgot it while it was suspended
                    self._client.send("EXPIRE", self._key, _PRESENCE_TIMEOUT)
                await self._write()
            await wait_until_set(self._dirty, max(next_beat - loop.time(), 0))
            await asyncio.sleep(_BATCH_INTERVAL)

    def _connected(self) -> None:
        if self._started:  # a command of operators has no connections, and is no process
            self._write_anew()

    def _write_anew(self) -> None:
        """Write the whole list, since a Redis that was away may have an old one."""
        self._client.send("DEL", self._key)
        self._client.send("HSET", self._key, "", self._about, "#", self._number)
        self._client.send("EXPIRE", self._key, _PRESENCE_TIMEOUT)
        self._client.send("SADD", _PROCESSES, self._process)
        self._changed.update(self._connections.session_ids())
        self._dirty.set()

    async def _write(self) -> None:
        self._dirty.clear()
        if not self._client.connected:
            return
        ids = list(self._changed)
        self._changed.clear()
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            present = await self._connections.transports(batch)
            here: list[Word] = []
            for id in batch:
                if id in present:
                    here += (id, " ".join(present[id]))
            gone = [id for id in batch if id not in present]
            if here:
                self._client.send("HSET", self._key, *here)
                self._client.send("EXPIRE", self._key, _PRESENCE_TIMEOUT)
            if gone:
                self._client.send("HDEL", self._key, *gone)
            await asyncio.sleep(0)  # after an outage these are all sessions of this process
