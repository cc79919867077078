"""Clients at two processes behind a proxy, and what they see while one process is frozen."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests.support.cluster import Cluster
from tests.support.node_client import NodeSocket, NodeVisitor
from tests.support.raw import Raw
from tests.support.waiting import until

TRANSPORTS = ("websocket", "polling")


@dataclass
class Seen:
    """What clients saw, with times in seconds."""

    acks: list[int] = field(default_factory=list)
    #: the slowest page (GET), and the slowest handshake by a transport
    pages: list[float] = field(default_factory=list)
    handshakes: list[float] = field(default_factory=list)
    #: from the freeze until a client of the frozen process was served by the other one
    moved: dict[str, float] = field(default_factory=dict)
    #: statuses of pages and handshakes that were refused
    refused: list[int] = field(default_factory=list)


class Clients:
    """Sockets of the official client on each transport at each process, signed in as ann."""

    def __init__(self, site: Cluster, visitor: NodeVisitor, seen: Seen) -> None:
        self.site, self.visitor, self.seen = site, visitor, seen
        self.sockets: dict[tuple[str, str], NodeSocket] = {}
        self._asking: list[asyncio.Future[None]] = []

    def begin_to_ask(self) -> None:
        """Ask for pages and handshakes until `stop_asking`."""
        asks = (ask_pages, shake_hands)
        self._asking = [asyncio.ensure_future(ask(self.site, self.seen)) for ask in asks]

    async def stop_asking(self) -> None:
        tasks, self._asking = self._asking, []
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result

    async def connect(self) -> None:
        """Connect until each process has one socket on each transport."""
        for transport in TRANSPORTS:
            while not all((transport, number) in self.sockets for number in "01"):
                socket = await self.visitor.socket(transport, reconnection=True)
                key = transport, (await socket.engine())[0][:1]
                if key in self.sockets:
                    await socket.close()
                else:
                    self.sockets[key] = socket

    async def incr(self, socket: NodeSocket) -> None:
        """Raise the counter once and note the ack; a call that gets none is forgotten."""
        with contextlib.suppress(RuntimeError):
            count = await socket.call("incr", seconds=2)
            if isinstance(count, int):
                self.seen.acks.append(count)

    async def watch(self, transport: str, frozen_at: float) -> None:
        """Note when the client of the frozen process 0 is served by process 1."""
        socket = self.sockets[transport, "0"]
        while True:
            if (await socket.engine())[0].startswith("1-"):
                with contextlib.suppress(RuntimeError):
                    assert await socket.call("whoami", seconds=2) == "ann"
                    break
            await asyncio.sleep(0.05)
        self.seen.moved[transport] = time.monotonic() - frozen_at


async def ask_pages(site: Cluster, seen: Seen) -> None:
    """Ask for a page again and again, and note how long each took."""
    connector = aiohttp.TCPConnector(ssl=site.trust)
    async with aiohttp.ClientSession(connector=connector) as http:
        while True:
            began = time.monotonic()
            async with http.get(site.url) as answer:
                if answer.status != 200:
                    seen.refused.append(answer.status)
            seen.pages.append(time.monotonic() - began)
            await asyncio.sleep(0.05)


async def shake_hands(site: Cluster, seen: Seen) -> None:
    """Open WebSockets again and again, and note how long each took."""
    while True:
        began = time.monotonic()
        async with site.raw() as raw:
            status = (await raw.websocket()).status
            if status != 101:
                seen.refused.append(status)
            seen.handshakes.append(time.monotonic() - began)
        await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def watched(site: Cluster) -> AsyncIterator[Clients]:
    """Connect clients; pages and handshakes are asked for as long as this is open."""
    seen = Seen()
    async with NodeVisitor(site.url, site.proxy.folder / "certificate.pem") as ann:
        registered = await ann.post(
            "/register", json={"username": "ann", "password": "correct horse battery"}
        )
        assert registered[0] < 300, registered
        clients = Clients(site, ann, seen)
        await clients.connect()
        clients.begin_to_ask()
        try:
            yield clients
        finally:
            await clients.stop_asking()


async def freeze(clients: Clients, *, thaw: bool = True) -> None:
    """Freeze process 0 until its clients are served by process 1, then let it go on.

    The client's acknowledged changes are all there afterwards, process 0 gets clients again, and
    has none of those that left it.
    """
    site, seen, first = clients.site, clients.seen, clients.site.processes[0]
    for socket in clients.sockets.values():
        await clients.incr(socket)
    first.process.send_signal(signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            for transport in TRANSPORTS:
                group.create_task(clients.watch(transport, frozen_at))
            for socket in clients.sockets.values():
                group.create_task(clients.incr(socket))
        await _connects(site)
    finally:
        if thaw:
            first.process.send_signal(signal.SIGCONT)
    if thaw:
        await until(lambda: _serves(site, 0), 60)
        await clients.stop_asking()
        await until(lambda: _has_no_clients(first.url), 60)
    for socket in clients.sockets.values():
        await clients.incr(socket)
    count = await clients.sockets["websocket", "1"].call("count")
    assert len(set(seen.acks)) == len(seen.acks), "two changes got the same number"
    assert count >= max(seen.acks), "an acknowledged change was lost"


async def _connects(site: Cluster) -> None:
    """Check that new clients are served, though the proxy may choose the frozen process first."""
    async with asyncio.timeout(30):
        for _ in range(8):
            async with site.raw() as raw:
                assert (await raw.websocket()).status == 101


async def _serves(site: Cluster, number: int) -> bool:
    """Whether a new client gets to this process."""
    async with site.raw() as raw:
        with contextlib.suppress(AssertionError):
            return (await site.open_sid(raw))[0].startswith(f"{number}-")
    return False


async def _has_no_clients(url: str) -> bool:
    """Whether a process has no connections any more."""
    async with Raw(url) as raw:
        text = (await raw.ask("/metrics")).body
    return sum(map(int, re.findall(r"^latchkey_connections\{.*\} (\d+)", text, re.MULTILINE))) == 0
