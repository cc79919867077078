"""The server enforces the idle timeout and the absolute lifetime of sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.testing import Site
from tests.support.browsers import PythonVisitor, browser, each_client, each_mode, ended, joined
from tests.support.clock import Clock
from tests.support.node_client import NodeVisitor
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

IDLE = [{"reason": "idle", "reconnect": True}]
EXPIRED = [{"reason": "expired", "reconnect": True}]


async def lasted(socket: Any) -> float:
    """Wait for `session ended` and return the seconds until it came."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await until(lambda: bool(ended(socket)), 8)
    return loop.time() - begin


@each_mode
async def test_an_idle_session_ends_on_a_real_clock(tmp_path: Path, mode: str) -> None:
    """After 2 s without activity the socket is told and closed within a round and half a second."""
    async with (
        serve(tmp_path, session_idle_timeout=2.0, expiry_interval=0.5) as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode)
        assert 1.5 < await lasted(socket) < 3.0 + 0.5
        assert ended(socket) == IDLE
        await until(lambda: bool(socket.ends()))


@each_mode
async def test_an_old_session_ends_on_a_real_clock(tmp_path: Path, mode: str) -> None:
    """A lifetime of 2 s is not prolonged by events."""
    async with (
        serve(tmp_path, session_max_age=2.0, expiry_interval=0.5) as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode)
        clicks = asyncio.ensure_future(click(socket))
        assert 1.5 < await lasted(socket) < 3.0 + 0.5
        assert ended(socket) == EXPIRED
        clicks.cancel()
        await asyncio.gather(clicks, return_exceptions=True)


async def click(socket: Any) -> None:
    while True:
        await socket.emit("incr")
        await asyncio.sleep(0.2)


@pytest.mark.asvs("7.3.1")
@each_client
@each_mode
async def test_an_idle_session_ends_at_its_deadline(tmp_path: Path, client: str, mode: str) -> None:
    """It lives a second before the idle timeout, and has ended as idle a second after it."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        browser(client, site.url) as visitor,
    ):
        socket = await joined(visitor, mode)
        clock.now += 86_399
        await site.services.expiry.run_round()
        assert ended(socket) == []
        clock.now += 2
        await until(lambda: ended(socket) == IDLE)


@pytest.mark.express("N15")
@each_client
async def test_events_keep_a_session_alive(tmp_path: Path, client: str) -> None:
    """An event restarts the idle timeout."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        browser(client, site.url) as visitor,
    ):
        socket = await joined(visitor, "websocket")
        for _ in range(3):
            clock.now += 80_000
            assert await socket.call("count") == 0
            await site.services.expiry.run_round()
        assert ended(socket) == []


@pytest.mark.express("A16")
async def test_pages_keep_a_sessions_sockets_alive(latchkey: Site, visitor: Visitor) -> None:
    """A request that only reads restarts the idle timeout, for sockets too."""
    socket = await visitor.socket("websocket")
    for _ in range(3):
        await latchkey.advance(80_000)
        assert (await visitor.get("/"))[0] == 200
    await latchkey.advance(0)
    assert ended(socket) == []


@pytest.mark.asvs("7.3.1")
@each_mode
async def test_heartbeats_and_emits_are_no_activity(tmp_path: Path, mode: str) -> None:
    """Pings, polls and what the server emits do not keep a session alive."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05, ping_interval=0.1) as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode)
        clock.now += 80_000
        for number in range(3):
            await site.services.socket_server.emit("news", number)
            await asyncio.sleep(0.1)
        await until(lambda: ("news", (2,)) in socket.received)
        clock.now += 6_401
        await until(lambda: ended(socket) == IDLE)


@pytest.mark.asvs("7.3.2")
async def test_activity_does_not_prolong_the_lifetime(latchkey: Site, visitor: Visitor) -> None:
    """A session that is used every day is ended as expired after 30 days."""
    socket = await visitor.socket("websocket")
    for _ in range(31):
        await latchkey.advance(82_800)
        assert await socket.call("count") == 0
    await latchkey.advance(82_800)
    assert await socket.ended() == "expired"
    assert ended(socket) == EXPIRED


@pytest.mark.parametrize("limit", ["session_idle_timeout", "session_max_age"])
async def test_an_event_after_the_deadline_changes_nothing(tmp_path: Path, limit: str) -> None:
    """An event between the deadline and the next round of the periodic callback is refused."""
    clock, store = Clock(), WatchedStore()
    options: dict[str, Any] = {limit: 100.0}
    async with (
        serve(tmp_path, clock=clock, store=store, expiry_interval=3600, **options) as site,
        PythonVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, "websocket")
        clock.now += 101
        await socket.client.emit("incr")
        await until(lambda: bool(ended(socket)))
        assert not store.ids


async def test_a_session_without_sockets_leaves_the_store(tmp_path: Path) -> None:
    """Sessions without connections are removed from the store when they have expired."""
    clock, store = Clock(), WatchedStore()
    async with (
        serve(tmp_path, clock=clock, store=store, expiry_interval=0.05) as site,
        PythonVisitor(site.url) as visitor,
    ):
        await visitor.incr()
        assert len(store.ids) == 1
        clock.now += 86_401
        await until(lambda: not store.ids)


async def test_without_limits_a_session_lives_on(tmp_path: Path) -> None:
    """Both limits at 0: ten years later the socket is still connected."""
    clock = Clock()
    async with (
        serve(
            tmp_path,
            clock=clock,
            expiry_interval=0.05,
            session_idle_timeout=0.0,
            session_max_age=0.0,
        ) as site,
        PythonVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, "websocket")
        clock.now += 10 * 365 * 86_400
        await site.services.expiry.run_round()
        assert await socket.call("incr") == 1
        assert ended(socket) == []
