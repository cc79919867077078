"""Plain WebSockets with a session, by `BaseWebSocket`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tornado.web
from tornado.websocket import WebSocketHandler

from app.sessions.session import SessionFor
from tests.support.browsers import joined
from tests.support.clock import Clock
from tests.support.fork import fork
from tests.support.plain_websocket import counting_site
from tests.support.raw import UPGRADE
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


async def test_a_plain_websocket_and_a_page_share_the_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake creates a visitor's session, and its cookie is on the 101."""
    async with counting_site(tmp_path, monkeypatch) as site, Visitor(site.url) as visitor:
        async with visitor.http.ws_connect(site.url + "/count") as ws:
            assert visitor.cookie
            await ws.send_str("incr")
            assert await ws.receive_str() == "1"
            assert await visitor.incr() == 2
            await ws.send_str("read")
            assert await ws.receive_str() == "2 None"
        async with visitor.http.ws_connect(site.url + "/count") as ws:
            await ws.send_str("incr")
            assert await ws.receive_str() == "3"


async def test_session_lookup_serves_tornados_own_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The example in docs/websocket.md works; a message after the logout is no internal error."""
    from app.web.session_lookup import SessionLookup

    class Own(SessionLookup[Any], WebSocketHandler):
        async def prepare(self) -> None:
            found = await self.find_session()
            if found is None:
                raise tornado.web.HTTPError(401)
            self.session: SessionFor[Any] = self.services.sessions.session_for(found.id)

        async def on_message(self, message: str | bytes) -> None:
            async with self.session as data:
                data.count += 1
            await self.write_message(str(data.count))

    modules = fork(monkeypatch, routes=[("/own", Own)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await visitor.http.ws_connect(site.url + "/own")
        await visitor.incr()
        async with visitor.http.ws_connect(site.url + "/own") as ws:
            await ws.send_str("")
            assert await ws.receive_str() == "2"
            await visitor.post("/logout")
            await ws.send_str("")
            assert (await ws.receive()).type is aiohttp.WSMsgType.CLOSED
    assert [record for record in caplog.records if record.exc_info] == []


async def test_logout_closes_plain_websockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close code is 4401; later messages of the client are ignored."""
    async with counting_site(tmp_path, monkeypatch) as site, Visitor(site.url) as visitor:
        await visitor.sign_up("alice")
        async with visitor.http.ws_connect(site.url + "/members") as ws:
            await ws.send_str("read")
            assert await ws.receive_str() == "0 alice"
            await visitor.post("/logout")
            end = await ws.receive()
            assert (end.data, end.extra) == (4401, "session ended: logout")
        await until(lambda: len(site.services.connections) == 0)


async def test_an_idle_session_ends_its_plain_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages and handshakes are activity, an open socket is not."""
    clock = Clock()
    async with (
        counting_site(tmp_path, monkeypatch, clock=clock, session_idle_timeout=10) as site,
        Visitor(site.url) as visitor,
        visitor.http.ws_connect(site.url + "/count") as ws,
    ):
        for _ in range(2):
            clock.now += 6
            await site.services.expiry.run_round()
            await ws.send_str("read")
            await ws.receive_str()
        clock.now += 6
        async with visitor.http.ws_connect(site.url + "/count"):
            clock.now += 6  # since the handshake, 12 since the message
            await site.services.expiry.run_round()
            await ws.send_str("read")
            assert await ws.receive_str() == "0 None"
        clock.now += 11
        await site.services.expiry.run_round()
        assert (await ws.receive()).data == 4401


async def test_a_message_of_an_ended_session_closes_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That holds also if an operator removed the record."""
    store = WatchedStore()
    async with (
        counting_site(tmp_path, monkeypatch, store=store) as site,
        Visitor(site.url) as visitor,
        visitor.http.ws_connect(site.url + "/count") as ws,
    ):
        store.lose(next(iter(store.ids)))
        await ws.send_str("incr")
        assert (await ws.receive()).data == 4401


async def test_failures_close_with_their_own_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1011 is for an error in the fork's code, 1013 for a store that does not answer."""
    store = WatchedStore()
    async with (
        counting_site(tmp_path, monkeypatch, store=store) as site,
        Visitor(site.url) as visitor,
    ):
        async with visitor.http.ws_connect(site.url + "/count") as ws:
            await ws.send_str("fail")
            assert (await ws.receive()).data == 1011
        async with visitor.http.ws_connect(site.url + "/count") as ws:
            store.down = True
            await ws.send_str("incr")
            assert (await ws.receive()).data == 1013
        answer = await visitor.get("/count", headers=UPGRADE)
        assert answer[0] == 503
        store.down = False


async def test_a_refused_plain_websocket_gets_a_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """401 without login, 429 beyond the limits, 503 while the process stops; no 101 before."""
    async with (
        counting_site(
            tmp_path, monkeypatch, max_connections_per_session=2, handshakes_per_minute=6
        ) as site,
        Visitor(site.url) as visitor,
        contextlib.AsyncExitStack() as stack,
    ):

        async def status(path: str) -> int:
            try:
                ws = visitor.http.ws_connect(site.url + path)
                await stack.enter_async_context(ws)
            except aiohttp.WSServerHandshakeError as error:
                return error.status
            return 101

        assert await status("/members") == 401
        assert [await status("/count") for _ in range(3)] == [101, 101, 429]
        site.services.stopping = True
        assert await status("/count") == 503
        site.services.stopping = False
        assert [await status("/count") for _ in range(3)][-1] == 429
        assert not site.services.connections._reserved


async def test_an_account_page_counts_plain_websockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They count as connections like those of Socket.IO."""
    async with (
        counting_site(tmp_path, monkeypatch) as site,
        Visitor(site.url) as visitor,
        visitor.http.ws_connect(site.url + "/count"),
    ):
        socket_io = await joined(visitor, "websocket")
        (session_id,) = site.services.connections.session_ids()
        names = await site.services.connections.transports([session_id])
        assert names == {session_id: ["websocket", "websocket"]}
        await socket_io.close()
