"""An HttpServer with a small Tornado application, on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import tornado.web
from tornado.netutil import bind_sockets

from app.transport.http.dispatcher import Dispatcher
from app.transport.http.server import HttpServer
from tests.support.http_client import Client


class Echo(tornado.web.RequestHandler):
    """Answers with the request: method, path, version, headers and body."""

    SUPPORTED_METHODS = (*tornado.web.RequestHandler.SUPPORTED_METHODS, "PROPFIND")

    def answer(self) -> None:
        request = self.request
        headers = sorted(request.headers.get_all())
        self.write(
            json.dumps(
                [
                    request.method,
                    request.uri,
                    request.version,
                    headers,
                    request.body.decode("latin-1"),
                ]
            )
        )

    get = post = put = options = propfind = head = answer


class Pieces(tornado.web.RequestHandler):
    """Answers in two pieces, without a Content-Length; with ?n of that many bytes."""

    async def get(self) -> None:
        size = int(self.get_query_argument("n", "3"))
        self.write("a" * size)
        await self.flush()
        self.write("b" * size)

    head = get


class Large(tornado.web.RequestHandler):
    """Answers with ?n bytes at once."""

    def get(self) -> None:
        self.settings["site"].waiting += 1
        self.write("a" * int(self.get_query_argument("n")))


class Status(tornado.web.RequestHandler):
    """Answers with the status in its path and no body."""

    def get(self, status: str) -> None:
        self.set_status(int(status))

    head = get


class Wait(tornado.web.RequestHandler):
    """Answers when the test sets `go_on`."""

    async def get(self) -> None:
        site: HttpSite = self.settings["site"]
        site.waiting += 1
        if self.get_query_argument("early", None):
            await self.flush()
        await site.go_on.wait()
        self.write("done")

    post = get

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.settings["site"].left += 1


@tornado.web.stream_request_body
class Stream(tornado.web.RequestHandler):
    """Takes its body piece by piece; `?limit`, `?timeout`, `?refuse`, `?wait` say how."""

    async def prepare(self) -> None:
        self.pieces: list[bytes] = []
        site: HttpSite = self.settings["site"]
        if limit := self.get_query_argument("limit", None):
            self.request.connection.set_max_body_size(int(limit))  # type: ignore[union-attr]
        if timeout := self.get_query_argument("timeout", None):
            self.request.connection.set_body_timeout(float(timeout))  # type: ignore[union-attr]
        if self.get_query_argument("wait", None):
            site.waiting += 1
            await site.go_on.wait()
        if self.get_query_argument("refuse", None):
            raise tornado.web.HTTPError(403)

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.pieces.append(chunk)

    def post(self) -> None:
        self.write(b"".join(self.pieces))

    get = put = post

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self.settings["site"].left += 1


class Raw(tornado.web.RequestHandler):
    """Writes a faulty response; `?case` names the fault."""

    def get(self) -> None:
        case = self.get_query_argument("case")
        self.set_header("Content-Length", "5")
        if case == "short":
            self.write("four")
        elif case == "long":
            self.write("sixsix")
        elif case == "header":
            # set_header() refuses it itself, so it has to be smuggled in
            self._headers._as_list["X"] = ["a\r\nSet-Cookie: b"]
            self.write("five!")


def tornado_app(
    site: HttpSite, application: type[tornado.web.Application]
) -> tornado.web.Application:
    return application(
        [
            ("/pieces", Pieces),
            ("/large", Large),
            ("/status/([0-9]+)", Status),
            ("/wait", Wait),
            ("/stream", Stream),
            ("/raw", Raw),
            ("/.*", Echo),
        ],
        site=site,
        log_function=lambda handler: None,
    )


class HttpSite:
    """A server of the small application on a loopback port."""

    def __init__(self, application: type[tornado.web.Application] = Dispatcher) -> None:
        self.app = tornado_app(self, application)
        self.port = 0
        self.server: HttpServer = None  # type: ignore[assignment]
        self.go_on = asyncio.Event()
        self.waiting = 0  # requests that wait for go_on
        self.left = 0  # clients that left during their request

    async def client(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def talk(self, *pieces: bytes) -> bytes:
        """Send these pieces, one after the other; return all that comes until the server closes."""
        client = await self.client()
        try:
            for piece in pieces:
                await client.send(piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0.001)
            return await client.rest()
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def http_site(
    application: type[tornado.web.Application] = Dispatcher, **options: Any
) -> AsyncIterator[HttpSite]:
    """Serve the small application by HttpServer; by default a body has at most 1000 bytes."""
    site = HttpSite(application)
    site.server = HttpServer(site.app, **{"max_body_size": 1000, **options})
    sockets = bind_sockets(0, "127.0.0.1", family=socket.AF_INET)
    site.port = sockets[0].getsockname()[1]
    await site.server.listen(sockets)
    try:
        yield site
    finally:
        site.go_on.set()
        await site.server.close(1.0)
