"""A store that does not answer: pages and sockets get a clear error, and connections stay open."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from app.stores import StoreUnavailable
from app.stores.memory import MemoryStore
from app.stores.sqlite.store import SqliteStore
from tests.support.browsers import (
    PythonVisitor,
    browser,
    each_client,
    each_mode,
    each_transport,
    ended,
    joined,
)
from tests.support.clock import Clock
from tests.support.counting_store import CountingStore
from tests.support.raw import POLLING, Raw
from tests.support.sessions import made
from tests.support.site import serve
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


@pytest.mark.express("A7", "L5", "N4", "N5")
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/incr"), ("POST", "/logout")])
async def test_a_page_answers_503(tmp_path: Path, method: str, path: str) -> None:
    """A client with a session gets a sentence that asks to try again, and keeps its cookie."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, PythonVisitor(site.url) as visitor:
        await visitor.incr()
        store.down = True
        wanted = ("Accept", "application/json")
        async with Raw(site.url) as raw:
            answer = await raw.ask(
                path, wanted, ("Cookie", visitor.cookie), method=method, body=b""
            )
        assert answer.status == 503
        assert answer.all("Retry-After")
        assert answer.cookie == ""
        assert "try again" in json.loads(answer.body)["error"]
        store.down = False
        assert await visitor.incr() == 2


@pytest.mark.express("A7", "N5")
@each_client
@each_mode
async def test_an_event_gets_an_error_ack(tmp_path: Path, client: str, mode: str) -> None:
    """The client gets the error, stays connected, and the next event works."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, mode)
        assert await socket.call("incr") == 1
        store.down = True
        assert "try again" in (await socket.call("incr"))["error"]
        assert "try again" in (await socket.call("count"))["error"]
        store.down = False
        assert await socket.call("incr") == 2
        assert socket.connects == 1


@pytest.mark.express("A7")
@each_transport
@pytest.mark.parametrize("known", [True, False])
async def test_a_handshake_answers_503(tmp_path: Path, transport: str, known: bool) -> None:
    """A new connection is refused before the 101, with or without a known session."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, PythonVisitor(site.url) as visitor:
        await visitor.incr()
        headers = [("Cookie", visitor.cookie)] if known else []
        store.down = True
        async with Raw(site.url) as raw:
            if transport == "polling":
                answer = await raw.ask(POLLING, *headers)
            else:
                answer = await raw.websocket(*headers)
        assert answer.status == 503
        assert answer.all("Retry-After")
        assert answer.cookie == ""


@each_client
async def test_sockets_stay_open_during_an_outage(tmp_path: Path, client: str) -> None:
    """Sessions that are due while the store is down stay connected, and end afterwards."""
    store, clock = WatchedStore(), Clock()
    async with (
        serve(tmp_path, store=store, clock=clock, expiry_interval=0.05) as site,
        browser(client, site.url) as visitor,
    ):
        socket = await joined(visitor, "websocket")
        store.down = True
        clock.now += 86_401
        asked = store.asked
        await until(lambda: store.asked > asked + 3)
        assert ended(socket) == []
        store.down = False
        await until(lambda: [end["reason"] for end in ended(socket)] == ["idle"])


@pytest.mark.express("I6")
async def test_activity_before_an_outage_is_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A session that was active just before the outage does not end as idle after it."""
    store, clock = WatchedStore(), Clock()
    async with (
        serve(tmp_path, store=store, clock=clock, expiry_interval=0.05) as site,
        PythonVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, "websocket")
        clock.now += 80_000
        assert await socket.call("count") == 0
        store.down = True
        clock.now += 10_000
        asked = store.asked
        await until(lambda: store.asked > asked + 3)
        store.down = False
        await until(lambda: "session store available again" in caplog.text)
        assert ended(socket) == []
        assert await socket.call("incr") == 1


async def test_readyz_fails_and_healthz_does_not(tmp_path: Path) -> None:
    """A load balancer stops sending requests to the process and does not restart it."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, PythonVisitor(site.url) as visitor:
        assert (await visitor.get("/readyz"))[0] == 200
        store.down = True
        status, text = await visitor.get("/readyz")
        assert (status, json.loads(text)["failed"]) == (503, ["store"])
        assert (await visitor.get("/healthz"))[0] == 200


async def test_a_locked_database_file_is_a_503(tmp_path: Path) -> None:
    """While another program locks the file nothing is lost; afterwards edits work."""
    (tmp_path / "data").mkdir(mode=0o700)
    path = tmp_path / "data" / "sessions.sqlite3"
    async with serve(tmp_path, store=SqliteStore(path)) as site, PythonVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket")
        assert await socket.call("incr") == 1
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        page, event = await asyncio.gather(visitor.post("/incr"), socket.call("incr"))
        assert page[0] == 503
        assert "try again" in event["error"]
        assert await socket.call("count") == 1
        other.rollback()
        other.close()
        assert await socket.call("incr") == 2
        assert await visitor.incr() == 3


async def test_a_failed_login_leaves_no_second_session() -> None:
    """If the old session cannot be replaced, it goes on, and there is no new one."""

    class Failing(CountingStore):
        async def before(self, call: str) -> None:
            if call == "lease.replace":
                raise StoreUnavailable("the store was cut off by a test")

    sessions, session = await made(Failing(MemoryStore()))
    with pytest.raises(StoreUnavailable):
        await sessions.sign_in(session, "ada", remote_address="::1", user_agent="")
    assert await sessions.store.of_user("ada") == []
    found = await sessions.session_for(session.id)
    assert found.user is None
    async with found as data:
        data.count += 1
