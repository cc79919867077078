"""SIGTERM drains: sockets are closed in batches while pages are served."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.http_client import request
from tests.support.http_site import http_site
from tests.support.process import Process, process
from tests.support.raw import POLLING, Raw
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(60)
FLAGS = ("--store=memory", "--handshakes-per-minute=0", "--max-connections-per-session=0")


@contextlib.asynccontextmanager
async def crowded(
    tmp_path: Path, sockets: int, *flags: str, **environ: Any
) -> AsyncIterator[tuple[Process, list[asyncio.Future[list[str]]]]]:
    """A process with so many WebSockets, each of which is done when the server has closed it."""
    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(process(tmp_path, *FLAGS, *flags, **environ))
        raws = [await stack.enter_async_context(Raw(site.url)) for _ in range(sockets)]
        for raw in raws:
            assert (await raw.websocket()).status == 101
        yield site, [asyncio.ensure_future(raw.until_closed(40)) for raw in raws]


async def test_a_process_that_drains_serves_pages_and_takes_no_sockets(tmp_path: Path) -> None:
    """/readyz gets 503, a handshake gets 503 as JSON, and HTTP connections are closed."""
    async with crowded(tmp_path, 60, "--drain-time=6") as (site, closed), Visitor(site.url) as ann:
        async with Raw(site.url) as kept:
            assert "connection" not in dict((await kept.ask("/healthz")).headers)
            site.process.send_signal(signal.SIGTERM)
            await until(lambda: any(socket.done() for socket in closed))
            answer = await kept.ask("/healthz")
            assert (answer.status, answer.all("Connection")) == (200, ["close"])
            await kept.until_end()
        status, text = await ann.get("/readyz")
        assert (status, json.loads(text)["failed"]) == (503, ["draining"])
        async with Raw(site.url) as late:
            refused = await late.ask(POLLING)
        assert (refused.status, refused.all("Retry-After")) == (503, ["1"])
        assert json.loads(refused.body)["message"] == "Service Unavailable"
        async with Raw(site.url) as late:
            assert (await late.websocket()).status == 503
        assert await ann.incr() == 1
        assert not all(socket.done() for socket in closed), "it was over before it was looked at"
        assert await site.stop(signal.SIGINT) == 0


async def test_sockets_are_closed_in_batches(tmp_path: Path) -> None:
    """Over the whole of --drain-time, each once, and the process exits with 0 after the last."""
    loop = asyncio.get_running_loop()
    async with crowded(tmp_path, 100, "--drain-time=2") as (site, closed):
        times: list[float] = []
        for one in closed:
            one.add_done_callback(lambda _: times.append(loop.time()))
        assert await site.stop() == 0
        await asyncio.gather(*closed)
    # a pause of 0.1 s parts two batches; on a machine that stands still two may look like one
    batches = sum(later - earlier > 0.03 for earlier, later in itertools.pairwise(times))
    assert len(times) == 100
    assert batches >= 2


async def test_a_few_sockets_are_closed_at_once(tmp_path: Path) -> None:
    """With fewer than a batch the process stops at once, whatever --drain-time is."""
    async with crowded(tmp_path, 5, "--drain-time=3600") as (site, closed):
        assert await site.stop() == 0
        await asyncio.gather(*closed)


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_draining(tmp_path: Path, second: signal.Signals) -> None:
    """The remaining sockets are closed at once, and the exit code is 0."""
    async with crowded(tmp_path, 60, "--drain-time=3600") as (site, closed):
        site.process.send_signal(signal.SIGTERM)
        await until(lambda: any(socket.done() for socket in closed))
        assert not all(socket.done() for socket in closed)
        assert await site.stop(second) == 0
        await asyncio.gather(*closed)


async def test_ctrl_c_does_not_drain(tmp_path: Path) -> None:
    """SIGINT comes from a terminal."""
    async with crowded(tmp_path, 60, "--drain-time=3600") as (site, closed):
        assert await site.stop(signal.SIGINT) == 0
        await asyncio.gather(*closed)


@pytest.mark.parametrize("late", [False, True], ids=["before", "just after"])
async def test_requests_in_the_accept_queue_are_answered(late: bool) -> None:
    """The kernel has accepted them; to close the listening socket would reset them."""
    async with http_site() as site, contextlib.AsyncExitStack() as stack:
        # no turn of the loop meanwhile, so that none of them is accepted
        address = ("127.0.0.1", site.port)
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(20)]
        closing = asyncio.ensure_future(site.server.close(5))
        while late and len(site.server.connections) < len(clients):
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        for client in clients:
            client.sendall(request())
        assert await closing
        for client in clients:
            client.settimeout(5)
            assert client.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("abstract", [False, True])
async def test_systemd_is_notified_of_start_and_stop(tmp_path: Path, abstract: bool) -> None:
    """With Type=notify: READY=1 when it serves, STOPPING=1 when it drains."""
    address = f"\0latchkey{tmp_path}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(5)
        shown = address.replace("\0", "@")
        async with process(tmp_path / "data", *FLAGS, NOTIFY_SOCKET=shown) as site:
            assert manager.recv(100) == b"READY=1"
            assert await site.stop() == 0
            assert manager.recv(100) == b"STOPPING=1"
