"""The interface of the HTTP server: the pages also work on Tornado's own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.transport.http.dispatcher import Dispatcher
from app.transport.http.exchange import Exchange
from app.transport.http.interface import SocketConnection, WebServer
from app.transport.http.server import HttpServer
from tests.support.http_client import request
from tests.support.http_site import HttpSite
from tests.support.site import Site, serve


class TornadoServer:
    """Tornado's HTTP server as a `WebServer`."""

    def __init__(self, app: tornado.web.Application) -> None:
        self._server = HTTPServer(app)

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        self._server.add_sockets(sockets)

    def drain(self) -> None:
        """Do nothing: it cannot announce the end of a connection."""

    async def stop_listening(self) -> None:
        self._server.stop()

    async def close(self, seconds: float) -> bool:
        self._server.stop()
        try:
            async with asyncio.timeout(seconds):
                await self._server.close_all_connections()
        except TimeoutError:
            return False
        return True


@contextlib.asynccontextmanager
async def on_tornado(site: Site) -> AsyncIterator[str]:
    """Serve the pages of a site by Tornado's server too; yield its URL."""
    server: WebServer = TornadoServer(site.app.web)
    sockets = bind_sockets(0, "127.0.0.1")
    await server.listen(sockets)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        await server.stop_listening()
        assert await server.close(5.0)


def test_the_http_server_implements_the_interface() -> None:
    """mypy and pyright compare the members."""
    server: type[WebServer] = HttpServer
    exchange: type[SocketConnection] = Exchange
    assert (server, exchange) == (HttpServer, Exchange)


async def test_pages_work_on_tornados_server(tmp_path: Path) -> None:
    """A user registers, signs in and counts; both servers share the session."""
    async with (
        serve(tmp_path) as site,
        on_tornado(site) as url,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
    ):
        account = {"username": "ann", "password": "correct horse battery"}
        async with http.post(url + "/register", json=account) as answer:
            assert answer.status == 204
        async with http.post(url + "/login", json=account) as answer:
            assert answer.status == 204
        for count in ("1", "2"):
            async with http.post(url + "/incr") as answer:
                assert (answer.status, await answer.text()) == (200, count)
        async with http.get(url + "/") as page:
            assert page.status == 200
            assert page.headers["Content-Security-Policy"]
            assert "Signed in as ann" in await page.text()
        async with http.post(site.url + "/incr") as answer:  # cookies are not bound to a port
            assert await answer.text() == "3"


async def test_static_files_work_on_tornados_server(tmp_path: Path) -> None:
    async with (
        serve(tmp_path) as site,
        on_tornado(site) as url,
        aiohttp.ClientSession() as http,
        http.get(url + "/static/counter.js") as answer,
        http.get(site.url + "/static/counter.js") as ours,
    ):
        assert answer.status == ours.status
        assert await answer.read() == await ours.read()
        names = set(answer.headers) - {"Date", "Server"}
        assert names == set(ours.headers) - {"Date"}


@pytest.mark.parametrize("path", ["/a?b=1", "/pieces", "/stream", "/status/204"])
async def test_tornados_handlers_work_on_tornados_server(path: str) -> None:
    """The same dispatcher serves them, including a streamed body."""
    site = HttpSite(Dispatcher)
    server: WebServer = TornadoServer(site.app)
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    site.port = sockets[0].getsockname()[1]
    await server.listen(sockets)
    try:
        fields: tuple[Any, ...] = ("Content-Length: 3",) if path == "/stream" else ()
        method, body = ("POST", "abc") if fields else ("GET", "")
        answer = await site.talk(request(path, *fields, method=method, body=body))
        assert answer.startswith((b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content"))
        assert body.encode() in answer
    finally:
        assert await server.close(5.0)
