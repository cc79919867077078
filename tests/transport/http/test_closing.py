"""The end of a connection: keep-alive, clients that leave, and clients that close one direction."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from tornado.iostream import StreamClosedError

from app.transport.http import writer as http_writer
from tests.support import socket_server
from tests.support.http_client import Client, request, status
from tests.support.http_site import HttpSite, http_site
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.socket_server import tls_contexts
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        ("GET / HTTP/1.1\r\nHost: x", True),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive", True),
        ("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, CLOSE", False),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive", True),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close", False),
        ("GET /pieces HTTP/1.0\r\nConnection: keep-alive", False),
    ],
)
async def test_a_connection_closes_or_stays_open_as_its_request_says(
    head: str, keeps: bool
) -> None:
    """RFC 9112, 9.3. The end of the connection ends a body of unknown length."""
    async with http_site(keep_alive_timeout=0.4) as site:
        began = asyncio.get_running_loop().time()
        answer = await site.talk(head.encode() + b"\r\n\r\n")
        assert status(answer) == 200
        assert (asyncio.get_running_loop().time() - began > 0.3) is keeps


async def test_a_client_that_leaves_is_noticed() -> None:
    """on_connection_close runs once, also if the client leaves during its request's body."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        await client.close()
        await until(lambda: site.left)
        client = await site.client()
        await client.send(request("/stream?wait=1", "Content-Length: 3", method="POST"))
        await until(lambda: site.waiting == 2)
        site.go_on.set()
        await asyncio.sleep(0.02)
        await client.close()
        await until(lambda: site.left == 2)
        await asyncio.sleep(0.05)
        assert site.left == 2


POST = b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


GET = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


LOOPS: dict[str, Callable[[Coroutine[Any, Any, None]], None]] = {"asyncio": asyncio.run}


with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.run


class Slow(tornado.web.RequestHandler):
    """Answers when the test sets `go_on`."""

    go_on: asyncio.Event
    left: list[bool]

    async def get(self) -> None:
        await self.go_on.wait()
        self.write("answer to " + (self.request.body or b"nothing").decode())

    post = get

    def on_connection_close(self) -> None:
        self.left.append(True)


@contextlib.asynccontextmanager
async def slow_site() -> AsyncIterator[tuple[HttpSite, type[Slow]]]:
    """Serve a handler that waits; yield the site and the handler."""

    class Own(Slow):
        go_on = asyncio.Event()
        left: list[bool] = []

    async with http_site() as site:
        site.app.add_handlers(".*", [("/slow", Own)])
        yield site, Own


async def half_closed(site: HttpSite, sent: bytes) -> Client:
    """Send these bytes and shut the client's side; return once the server has seen that."""
    client = await site.client()
    client.writer.write(sent)
    client.writer.write_eof()
    await until(lambda: any(c.writer.half_closed for c in site.server.connections))
    return client


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sent", [POST, GET], ids=["POST", "GET"])
def test_a_half_closed_client_gets_its_response(loop: str, sent: bytes) -> None:
    """The server then closes the connection. This holds on both loops."""

    async def answered() -> None:
        async with slow_site() as (site, own):
            client = await half_closed(site, sent)
            own.go_on.set()
            answer = await client.rest()
            assert status(answer) == 200
            assert answer.endswith(b"answer to body" if sent is POST else b"answer to nothing")
            await until(lambda: not site.server.connections)
            assert own.left == []
            await client.close()

    LOOPS[loop](asyncio.wait_for(answered(), 10))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_half_closed_client_gets_a_response_to_each_complete_request(loop: str) -> None:
    """A pipelined request that is complete is answered, and an incomplete one is not."""

    async def answered() -> None:
        async with slow_site() as (site, own):
            client = await site.client()  # the server pauses reading while a handler runs
            client.writer.write(POST + GET + POST[:-2])
            client.writer.write_eof()
            own.go_on.set()
            answers = await client.rest()
            assert answers.count(b"HTTP/1.1 200 OK") == 2
            assert answers.count(b"HTTP/1.1") == 2
            await until(lambda: not site.server.connections)
            await client.close()

    LOOPS[loop](asyncio.wait_for(answered(), 10))


@pytest.mark.parametrize("sent", [b"", POST[:-2], GET[:-4]], ids=["nothing", "body", "head"])
async def test_a_half_closed_connection_with_an_unfinished_request_closes(sent: bytes) -> None:
    """The rest of the request can no longer arrive."""
    async with slow_site() as (site, own):
        client = await site.client()
        client.writer.write(sent)
        client.writer.write_eof()
        assert await client.rest(2.0) == b""
        await until(lambda: not site.server.connections)
        assert not own.go_on.is_set()
        await client.close()


async def test_a_half_closed_connection_is_not_handed_over() -> None:
    """The next protocol could not see that the client has closed its direction."""
    raised: list[bool] = []

    class Upgrade(Slow):
        go_on = asyncio.Event()
        left: list[bool] = []

        async def get(self) -> None:
            await self.go_on.wait()
            self.clear_header("Content-Type")
            self.set_status(101)
            self.finish()
            try:
                self.detach()
            except StreamClosedError:
                raised.append(True)

    async with http_site() as site:
        site.app.add_handlers(".*", [("/slow", Upgrade)])
        client = await half_closed(site, GET)
        Upgrade.go_on.set()
        await until(lambda: raised)
        await client.close()


async def test_a_half_closed_client_that_left_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-closed request ends after HALF_CLOSED_TIMEOUT, and at once after a reset."""
    monkeypatch.setattr(http_writer, "HALF_CLOSED_TIMEOUT", 0.3)
    async with slow_site() as (site, own):
        client = await half_closed(site, POST)
        site.server.connections._interval = 0.1
        await client.close()
        await until(lambda: own.left == [True])
        await until(lambda: not site.server.connections)


async def test_a_half_closed_connection_with_tls_is_closed() -> None:
    """asyncio's TLS cannot close one direction of a connection."""
    contexts = tls_contexts()
    async with http_site(ssl=contexts[0]) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=contexts[1])
        writer.write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        writer.close()
        await until(lambda: not site.server.connections)
        assert await reader.read() == b""


async def test_a_half_closed_poll_ends_its_connection(tmp_path: Path) -> None:
    """A poll may wait for 30 s, so the client counts as gone; a POST gets its response."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        opened = await raw.ask(POLLING)
        path = POLLING + "&sid=" + opened.body.split('"sid":"')[1].split('"')[0]
        async with Raw(site.url) as post:
            post.write(path, method="POST", body=b"40")
            post.writer.write_eof()
            assert (await post.answer()).body == "ok"
            await post.until_end()
        assert (await raw.ask(path)).body.startswith("40")
        async with Raw(site.url) as poll:
            poll.write(path)
            await until(lambda: any(c.transport.polled for c in _connections(site)))
            poll.writer.write_eof()
            await poll.until_end()
        await until(lambda: not _connections(site))


def _connections(site: Any) -> list[Any]:
    return list(site.services.socket_server.engine.connections.values())


async def test_a_half_closed_client_gets_its_page_after_the_store_has_saved(tmp_path: Path) -> None:
    """A script may send its request, close its direction, and then read."""
    async with serve(tmp_path, store=WatchedStore(save_takes=0.1)) as site, Raw(site.url) as raw:
        raw.write("/incr", method="POST", body=b"")
        raw.writer.write_eof()
        assert (await raw.answer()).status == 200
        await raw.until_end()


@pytest.mark.parametrize("loop", socket_server.LOOPS)
def test_clients_that_do_not_begin_tls_do_not_hold_up_the_stop(loop: str) -> None:
    """They wait to be accepted when the server stops; their handshakes have a minute otherwise."""

    async def body() -> None:
        async with contextlib.AsyncExitStack() as stack, socket_server.serve(tls=True) as server:
            for _ in range(5):
                silent = socket.create_connection(("127.0.0.1", server.port))
                stack.callback(silent.close)

    socket_server.run(body(), timeout=10, loop=loop)
