"""Which connections sessions have in all processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Sequence

from app.common.background import Background, wait_until_set
from app.common.guard import logged
from app.sockets.connections import Connections
from app.stores import StoreError
from app.stores.redis import scripts
from app.stores.redis.link import Link
from app.stores.redis.wire import Word, pack

log = logging.getLogger("latchkey.presence")

_LIFE = 30  # seconds after which a process that is not heard of is taken for dead
_BEAT = 10.0  # seconds
_GATHER = 0.05  # seconds in which changes wait for each other
_AT_ONCE = 500


class SharedPresence:
    """The connections of every process, each of which keeps a list of its own in Redis.

    A list is a hash of session ids and transports, which Redis forgets half a minute after its
    process was last heard of. Only changes are written, so idle connections cost nothing.
    """

    def __init__(self, link: Link, connections: Connections, about: str = "") -> None:
        """`about` is what other processes may read of this one by `others`."""
        self._link = link
        self._connections = connections
        self._about = about
        self._me = secrets.token_hex(8)
        self._key = scripts.PROCESS + self._me
        self._changed: set[str] = set()
        self._dirty = asyncio.Event()
        self._background = Background()
        connections.on_change.append(self._note)
        link.on_up.append(self._write_anew)

    async def transports(self, session_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return "websocket" or "polling" for each connection of those that have any.

        While the Redis is away they are those of this process.
        """
        found = await self._connections.transports(session_ids)
        with contextlib.suppress(StoreError):
            for start in range(0, len(session_ids), _AT_ONCE):
                ids = session_ids[start : start + _AT_ONCE]
                command = scripts.PRESENT.call(self._me, *ids)
                for elsewhere in await self._link.run(command, scripts.PRESENT):
                    for id, transports in zip(ids, elsewhere, strict=True):
                        if transports:
                            found.setdefault(id, []).extend(transports.decode().split())
        return found

    async def others(self) -> list[str]:
        """Return what each other running process publishes about itself; raises StoreError."""
        names = await self._link.run(pack(("SMEMBERS", scripts.PROCESSES)))
        found = [
            await self._link.run(pack(("HGET", scripts.PROCESS + name.decode(), "")))
            for name in names
            if name.decode() != self._me
        ]
        return [about.decode() for about in found if about is not None]

    def start(self) -> None:
        """Begin to write, on the running loop."""
        self._background.start(self._keep())

    async def stop(self) -> None:
        """Take this process off the list."""
        await self._background.stop()
        self._link.send(pack(("DEL", self._key)))
        self._link.send(pack(("SREM", scripts.PROCESSES, self._me)))

    def _note(self, session_id: str) -> None:
        self._changed.add(session_id)
        self._dirty.set()

    async def _keep(self) -> None:
        """Write what changes, and from time to time that this process is alive."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time()
        while True:
            with (
                logged(log, "the connections of this process could not be written"),
                contextlib.suppress(StoreError),
            ):
                if loop.time() >= next_beat:
                    next_beat = loop.time() + _BEAT
                    if await self._link.run(pack(("HGET", self._key, ""))) is None:
                        self._write_anew()  # it was stopped for so long that it was taken for dead
                    self._link.send(pack(("EXPIRE", self._key, _LIFE)))
                await self._write()
            await wait_until_set(self._dirty, max(next_beat - loop.time(), 0))
            await asyncio.sleep(_GATHER)

    def _write_anew(self) -> None:
        """Begin the list again; what a Redis that was away still has of it may be wrong."""
        self._link.send(pack(("DEL", self._key)))
        self._link.send(pack(("HSET", self._key, "", self._about)))
        self._link.send(pack(("EXPIRE", self._key, _LIFE)))
        self._link.send(pack(("SADD", scripts.PROCESSES, self._me)))
        self._changed.update(self._connections.session_ids())
        self._dirty.set()

    async def _write(self) -> None:
        self._dirty.clear()
        if not self._link.up:
            return
        ids = list(self._changed)
        self._changed.clear()
        for start in range(0, len(ids), _AT_ONCE):
            batch = ids[start : start + _AT_ONCE]
            present = await self._connections.transports(batch)
            here: list[Word] = []
            for id in batch:
                if id in present:
                    here += (id, " ".join(present[id]))
            gone = [id for id in batch if id not in present]
            if here:
                self._link.send(pack(("HSET", self._key, *here)))
                self._link.send(pack(("EXPIRE", self._key, _LIFE)))
            if gone:
                self._link.send(pack(("HDEL", self._key, *gone)))
            await asyncio.sleep(0)  # after an outage these are all sessions of this process
