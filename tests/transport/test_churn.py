"""Clients that stay connected miss no event while others crash, under both loops."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw_websocket import Closed, WebSocket
from tests.support.socket_server import LOOPS

SECONDS = 10.0  # tests/reliability/test_soak.py goes on for longer
STAYERS = 15
LEAVERS_PER_SECOND = 12
EVENTS_PER_SECOND = 100
BUSY_EVERY = 25  # events


@contextlib.asynccontextmanager
async def server(loop: str, folder: Path) -> AsyncIterator[int]:
    """Run a server on one of the loops; yield its port, and check its log at the end."""
    log = folder / f"{loop}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.churn_server", loop, str(folder / loop)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        yield int(url.rpartition(":")[2])
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = log.read_text()
    for word in ("Traceback", "ERROR", "CRITICAL", "Error"):
        assert word not in text, text[-3000:]


async def join(port: int) -> WebSocket:
    websocket = await WebSocket.connect(port)
    await websocket.receive()
    await websocket.send("40")
    while not (await websocket.receive()).startswith("40"):
        pass
    return websocket


async def leave(websocket: WebSocket, *, reset: bool) -> None:
    """Leave as a crashed program: with a RST, or with a FIN and no close frame."""
    if reset:
        plain: socket.socket = websocket.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        websocket.writer.transport.abort()
    else:
        websocket.writer.write_eof()
        websocket.writer.close()
        with contextlib.suppress(ConnectionError):
            await websocket.writer.wait_closed()


class Stayer:
    """A client that records the numbers that it receives, and answers pings."""

    def __init__(self, websocket: WebSocket) -> None:
        self.first = self.last = 0
        self.acked = 0  # number of the event that was acked last
        self.moved = asyncio.Event()
        self.websocket = websocket
        self.reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        while not isinstance(packet := await self.websocket.receive(), Closed):
            if packet == "2":
                await self.websocket.send("3")
            elif packet.startswith('42["told"'):
                number = json.loads(packet[2:])[1][0]
                self.first = self.first or number
                assert self.last in (0, number - 1), f"{number} came after {self.last}"
                self.last = number
                self.moved.set()
            elif packet.startswith("43"):
                self.acked = json.loads(packet[packet.index("[") :])[0]
                self.moved.set()

    async def until(self, number: int) -> None:
        """Wait until the client has received this number."""
        while self.last < number:
            self.moved.clear()
            moved = asyncio.ensure_future(self.moved.wait())
            await asyncio.wait({moved, self.reading}, return_when=asyncio.FIRST_COMPLETED)
            if self.reading.done():
                self.reading.result()
                raise AssertionError(f"closed at {self.last}, before {number}")


async def churn(port: int, end: float) -> None:
    """Let clients connect and leave abruptly until the end."""
    leaving: set[asyncio.Task[None]] = set()

    async def visit(reset: bool) -> None:
        websocket = await join(port)
        await asyncio.sleep(0.2)
        await leave(websocket, reset=reset)

    for count in itertools.count():
        if asyncio.get_running_loop().time() > end:
            break
        task = asyncio.ensure_future(visit(reset=count % 2 == 0))
        leaving.add(task)
        await asyncio.sleep(1 / LEAVERS_PER_SECOND)
    await asyncio.gather(*leaving)


async def talk(talker: Stayer, end: float) -> int:
    """Send events until the end; return the number of the last one."""
    loop = asyncio.get_running_loop()
    for count in itertools.count(1):
        if loop.time() > end:
            break
        await talker.websocket.send('42["busy"]' if count % BUSY_EVERY == 0 else '42["say"]')
        await asyncio.sleep(1 / EVENTS_PER_SECOND)
    await talker.websocket.send('421["say"]')
    while not talker.acked:
        assert not talker.reading.done(), talker.reading.exception()
        talker.moved.clear()
        await asyncio.wait_for(talker.moved.wait(), 20)
    return talker.acked


async def one_loop(loop: str, folder: Path, seconds: float) -> None:
    async with server(loop, folder) as port:
        stayers = [Stayer(await join(port)) for _ in range(STAYERS)]
        end = asyncio.get_running_loop().time() + seconds
        _, last = await asyncio.gather(churn(port, end), talk(stayers[0], end))
        assert last > seconds * LEAVERS_PER_SECOND / 2
        await asyncio.wait_for(asyncio.gather(*(stayer.until(last) for stayer in stayers)), 20)
        for stayer in stayers:
            stayer.reading.cancel()
            await stayer.websocket.leave()


@pytest.mark.limit(SECONDS + 90)
async def test_connected_clients_get_every_event_while_others_crash(
    tmp_path: Path,
) -> None:
    """Both loops run at the same time, each in its own process."""
    await asyncio.gather(*(one_loop(loop, tmp_path, SECONDS) for loop in LOOPS))
