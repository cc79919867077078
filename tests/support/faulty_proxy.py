"""A TCP proxy before a server, with a fault at one byte of the conversation."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["cut", "reset", "half", "delay"]
Way = Literal["request", "reply"]

KINDS: tuple[Kind, ...] = ("cut", "reset", "half", "delay")
WAYS: tuple[Way, ...] = ("request", "reply")
_DELAY = 0.3  # seconds; less than any timeout of the program
_CHUNK = 65536


@dataclass(frozen=True)
class Fault:
    """What happens instead of the byte at `position`, counted from the moment it is set.

    `cut` closes the connection, `reset` resets it, `half` passes nothing more this way and keeps
    the connection open, `delay` waits and goes on.
    """

    kind: Kind
    way: Way
    position: int


class FaultyProxy:
    """Passes bytes to a port of this machine; each fault happens once, one after the other."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._faults: list[Fault] = []
        self.passed: dict[Way, int] = {"request": 0, "reply": 0}
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # a program that is tested in this process may block its own loop
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, *faults: Fault) -> None:
        """Let these faults happen; bytes are counted from now on, and from the fault before."""
        self._faults = list(faults)
        self.passed = {"request": 0, "reply": 0}

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # in which the closed connections end

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._pass(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pair = (writer, server_writer)
        try:
            await asyncio.gather(
                self._one_way("request", reader, server_writer, pair),
                self._one_way("reply", server_reader, writer, pair),
            )
        finally:
            for each in pair:
                each.close()

    async def _one_way(
        self,
        way: Way,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                kind, data = await self._until_fault(way, data, writer)
                if kind == "half":
                    while await reader.read(_CHUNK):  # until its sender has given up
                        pass
                    break
                if kind == "reset":
                    for each in pair:
                        _reset(each)
                    return
                if kind == "cut":
                    break
                if kind == "delay":
                    await asyncio.sleep(_DELAY)
                self.passed[way] += len(data)
                writer.write(data)
                await writer.drain()
        for each in pair:
            each.close()

    async def _until_fault(
        self, way: Way, data: bytes, writer: asyncio.StreamWriter
    ) -> tuple[Kind | None, bytes]:
        """Pass what comes before the fault, if it is in these bytes; return it and the rest."""
        fault = self._faults[0] if self._faults else None
        if fault is None or fault.way != way or fault.position >= self.passed[way] + len(data):
            return None, data
        before = fault.position - self.passed[way]
        self.set(*self._faults[1:])
        writer.write(data[:before])
        await writer.drain()
        return fault.kind, data[before:]


def _reset(writer: asyncio.StreamWriter) -> None:
    plain: socket.socket | None = writer.get_extra_info("socket")
    if plain is not None and plain.fileno() >= 0:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
