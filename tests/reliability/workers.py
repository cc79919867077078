"""Signed-in clients that raise their counters, and note what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp

from tests.support.raw_websocket import Closed, RefusedError, WebSocket
from tests.support.visitor import Visitor

#: What a client sees of a server that is killed, is away or is not back yet.
GONE = (OSError, EOFError, aiohttp.ClientError, RefusedError)


class Worker:
    """A user with a browser: its page and its socket raise one counter."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.acked = 0  # the highest count that a page or an ack has told
        self.unanswered = 0  # increments that may have been stored or not
        self.refused = 0  # pages and events that were answered with an error
        self.visitor = Visitor(url)

    async def work(self) -> None:
        """Raise the counter by pages and by events until the server is gone."""
        await asyncio.gather(self._pages(), self._events())

    async def _pages(self) -> None:
        with contextlib.suppress(*GONE):
            while True:
                self.unanswered += 1
                status, text, *_ = await self.visitor.post("/incr")
                await self._answered(int(text) if status == 200 else None)

    async def _events(self) -> None:
        with contextlib.suppress(*GONE):
            async with self.socket() as socket:
                while True:
                    self.unanswered += 1
                    count = await socket.call("incr")
                    await self._answered(count if isinstance(count, int) else None)

    async def _answered(self, count: int | None) -> None:
        """Note an answer; one with an error leaves open whether the change was stored."""
        if count is None:
            self.refused += 1
            await asyncio.sleep(0.1)  # as a client that is told to try again
        else:
            self.acked = max(self.acked, count)
            self.unanswered -= 1

    async def check(self) -> None:
        """Check that the user is signed in, and that the count has all that was acknowledged."""
        async with self.socket() as socket:
            assert await socket.call("whoami") == self.name
            count = await socket.call("count")
        assert self.acked <= count <= self.acked + self.unanswered, (
            f"{self.name}: acknowledged {self.acked}, unanswered {self.unanswered}, stored {count}"
        )
        self.acked = count

    async def is_signed_in(self, cookie: str) -> bool:
        """Whether the session of a cookie is that of a signed-in user."""
        browser = Visitor(self.visitor.url)
        try:
            return (await browser.get("/account", headers={"Cookie": cookie}))[0] == 200
        finally:
            await browser.close()

    def socket(self) -> WorkerSocket:
        return WorkerSocket(self.visitor)


class WorkerSocket:
    """A WebSocket in the namespace `/` with the cookies of a browser; it costs little CPU."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._last = 0

    async def __aenter__(self) -> WorkerSocket:
        port = int(self._visitor.url.rpartition(":")[2])
        self._websocket = await WebSocket.connect(port, Cookie=self._visitor.cookie)
        try:
            await self._websocket.send("40")
            await self._until("40")
        except BaseException:
            self._websocket.writer.close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        self._websocket.writer.close()

    async def call(self, event: str) -> Any:
        """Send an event and return its ack; raises EOFError if the connection ends before."""
        self._last += 1
        await self._websocket.send(f'42{self._last}["{event}"]')
        ack = f"43{self._last}["
        return json.loads((await self._until(ack))[len(ack) - 1 :])[0]

    async def _until(self, start: str) -> str:
        """Read until a packet begins like this; answer pings."""
        while not isinstance(packet := await self._websocket.receive(), Closed):
            if packet.startswith(start):
                return str(packet)
            if packet == "2":
                await self._websocket.send("3")
        raise EOFError("the connection has ended")
