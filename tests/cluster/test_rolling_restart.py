"""Both processes restarted in turn behind nginx while 500 people click: nobody loses anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, two
from tests.support.postgres import Postgres
from tests.support.raw import Raw
from tests.support.waiting import until

CLIENTS = 500
PAGES = 4
FLAGS = ("--handshakes-per-minute=0", "--drain-time=3")


class Clicker:
    """A person with a socket who clicks all the time, and reconnects as the official client does.

    That waits for 0.5 to 1.5 s before its first try and for twice that before the next.
    """

    def __init__(self, site: Cluster) -> None:
        self._site = site
        self._cookie = ""
        self.joined = False
        self.connects = 0
        self.sent = self.acked = self.count = 0
        self.away: list[float] = []  # seconds from each loss of the connection to the next join

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        lost, delay = loop.time(), 1.0
        while True:
            try:
                async with self._connected() as raw:
                    await self._join(raw)
                    if self.connects:
                        self.away.append(loop.time() - lost)
                    self.joined, delay = True, 1.0
                    self.connects += 1
                    await self._click(raw)
            except (OSError, asyncio.IncompleteReadError):
                pass  # it tries again, as below
            if self.joined:
                self.joined, lost = False, loop.time()
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            delay = min(2 * delay, 5.0)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Raw]:
        raw = self._site.raw()
        await asyncio.wait_for(raw.__aenter__(), 10)
        try:
            yield raw
        finally:
            raw.writer.transport.abort()  # TLS would wait for a farewell

    async def _join(self, raw: Raw) -> None:
        headers = [("Cookie", self._cookie)] if self._cookie else []
        answer = await asyncio.wait_for(raw.websocket(*headers), 10)
        if answer.status != 101:
            raise ConnectionError
        self._cookie = answer.cookie or self._cookie
        raw.send("40")
        while not (message := await asyncio.wait_for(raw.receive(), 10) or "").startswith("40{"):
            if not message:
                raise ConnectionError

    async def _click(self, raw: Raw) -> None:
        """Send the next click when the one before was acknowledged, and some time has passed."""
        waiting = self._send(raw)
        while (message := await raw.receive()) is not None:
            if message == "2":
                raw.send("3")
            elif message.startswith(waiting):
                self.count = json.loads(message[len(waiting) :])[0]
                assert isinstance(self.count, int), message
                self.acked += 1
                await asyncio.sleep(random.uniform(0.5, 1.5))
                waiting = self._send(raw)

    def _send(self, raw: Raw) -> str:
        self.sent += 1
        raw.send(f'42{self.sent}["incr"]')
        return f"43{self.sent}"


class Reader:
    """A person without a socket, who loads the page and presses its button."""

    def __init__(self, site: Cluster) -> None:
        self._site = site
        self.answers = 0

    async def run(self) -> None:
        async with self._site.visitor() as visitor:
            count = 0
            while True:
                for method, path in (("get", "/"), ("post", "/incr")):
                    status, text = await getattr(visitor, method)(path)
                    assert status == 200, text + self._site.proxy.log("error.log")[-2000:]
                    self.answers += 1
                count += 1
                assert text == str(count), "an acknowledged increment was lost, or counted twice"


@pytest.mark.limit(240)
async def test_a_rolling_restart_loses_nothing(tmp_path: Path, postgres: Postgres) -> None:
    """All sockets are back within 15 s, no acknowledged click is lost, and every page is a 200."""
    async with two(tmp_path, postgres, *FLAGS) as site, asyncio.TaskGroup() as group:
        clickers = [Clicker(site) for _ in range(CLIENTS)]
        readers = [Reader(site) for _ in range(PAGES)]
        tasks = []
        for clicker in clickers:
            tasks.append(group.create_task(clicker.run()))
            await asyncio.sleep(0.005)  # they did not all come in the same moment
        tasks += [group.create_task(reader.run()) for reader in readers]
        await until(lambda: all(clicker.joined for clicker in clickers), 60)
        assert {clicker.connects for clicker in clickers} == {1}
        for number in range(2):
            before = sum(reader.answers for reader in readers)
            await site.restart(number)
            await until(lambda: all(clicker.joined for clicker in clickers), 60)
            assert sum(reader.answers for reader in readers) > before
        acked = [clicker.acked for clicker in clickers]
        await until(lambda: all(c.acked > n for c, n in zip(clickers, acked, strict=True)), 30)
        for task in tasks:
            task.cancel()
    assert sum(len(clicker.away) for clicker in clickers) >= CLIENTS, "nobody was sent away"
    assert max(max(clicker.away, default=0.0) for clicker in clickers) < 15
    for clicker in clickers:
        # a click of which the answer was cut off may have been counted
        assert clicker.acked <= clicker.count <= clicker.sent
