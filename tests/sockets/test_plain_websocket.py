"""Plain WebSockets by Tornado's own handler."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tornado.web
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from tests.support.fork import fork
from tests.support.http_site import http_site
from tests.support.plain_websocket import Counting, Echo, echo_site
from tests.support.raw import UPGRADE, Raw
from tests.support.site import serve
from tests.support.socket_server import tls_contexts
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


async def _echoes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo_site(tmp_path, monkeypatch) as (site, own), Visitor(site.url) as visitor:
        async with visitor.http.ws_connect(site.url + "/echo", protocols=("one", "two")) as ws:
            assert ws.protocol == "two"
            await ws.send_str("héllo")
            assert await ws.receive_str() == "héllo"
            for size in (0, 125, 126, 70_000, 999_000):
                await ws.send_bytes(b"x" * size)
                assert len(await ws.receive_bytes()) == size
            await ws.close(code=4321, message=b"bye")
        await until(lambda: own.closed)
        assert own.closed == [(4321, "bye")]
        assert not site.app.http_server.connections.streams


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_plain_websocket_echoes_text_and_binary_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    """It works on both loops; `on_close` has the client's close code and reason."""
    run: Callable[[Coroutine[Any, Any, None]], None] = (
        asyncio.run if loop == "asyncio" else pytest.importorskip("uvloop").run
    )
    run(asyncio.wait_for(_echoes(tmp_path, monkeypatch), 20))


async def test_messages_are_compressed_where_both_want_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with echo_site(tmp_path, monkeypatch) as (site, _), Visitor(site.url) as visitor:
        async with visitor.http.ws_connect(site.url + "/echo?deflate=1", compress=15) as ws:
            assert ws.compress
            await ws.send_str("a" * 100_000)
            assert await ws.receive_str() == "a" * 100_000
        async with visitor.http.ws_connect(site.url + "/echo", compress=15) as ws:
            assert not ws.compress


async def test_the_server_closes_with_its_code_and_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        echo_site(tmp_path, monkeypatch) as (site, _),
        Visitor(site.url) as visitor,
        visitor.http.ws_connect(site.url + "/echo") as ws,
    ):
        await ws.send_str("close me")
        await ws.receive_str()
        end = await ws.receive()
        assert (end.type, end.data, end.extra) == (
            aiohttp.WSMsgType.CLOSE,
            4000,
            "as you wish",
        )


async def test_a_ping_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with echo_site(tmp_path, monkeypatch) as (site, _), Raw(site.url) as raw:
        assert (await raw.websocket(path="/echo")).status == 101
        raw.send(b"are you there", opcode=9)
        assert await raw.receive() == "are you there"


async def test_data_sent_right_after_the_request_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not wait for the 101 loses nothing."""
    async with echo_site(tmp_path, monkeypatch) as (site, _), Raw(site.url) as raw:
        raw.write("/echo", *UPGRADE.items())
        raw.send("early")
        assert (await raw.answer()).status == 101
        assert await raw.receive() == "early"


async def test_a_client_that_vanishes_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset is noticed at once, a silent client by unanswered pings."""
    async with echo_site(tmp_path, monkeypatch, ping_interval=0.2, ping_timeout=0.1) as (site, own):
        async with Raw(site.url) as raw:
            await raw.websocket(path="/echo")
            raw.writer.transport.abort()
            await until(lambda: len(own.closed) == 1)
        async with Raw(site.url) as raw:
            await raw.websocket(path="/echo")
            await raw.until_closed()  # by Tornado, which cuts the connection 5 s later
        with pytest.raises(WebSocketClosedError):
            own.sockets[0].write_message("too late")


async def test_a_stop_closes_plain_websockets_with_1001(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not answer the close frame is cut off."""
    async with contextlib.AsyncExitStack() as stack:
        async with echo_site(tmp_path, monkeypatch) as (site, own):
            polite = await stack.enter_async_context(Visitor(site.url))
            ws = await polite.http.ws_connect(site.url + "/echo")
            rude = await stack.enter_async_context(Raw(site.url))
            await rude.websocket(path="/echo")
            leaving = asyncio.ensure_future(ws.receive())
        assert (await leaving).data == 1001
        await rude.until_closed()
        assert rude.code == 1001
        await rude.until_end()
        await until(lambda: len(own.closed) == 2)


async def test_another_sites_page_opens_no_plain_websocket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pages of trusted origins may, with Tornado's handler and with ours. The reason is logged."""
    trusted = ("https://friend.example",)
    modules = fork(monkeypatch, routes=[("/count", Counting), ("/raw", WebSocketHandler)])
    store = WatchedStore()
    async with serve(tmp_path, modules=modules, store=store, trusted_origins=trusted) as site:
        async with Raw(site.url) as raw:
            evil = ("Origin", "https://evil.example")
            assert (await raw.websocket(evil, path="/count")).status == 403
            assert not store.made
            assert (
                "Origin 'https://evil.example' is neither this host nor in --trusted" in caplog.text
            )
        for path in ("/count", "/raw"):
            for headers, wanted in (
                ([("Origin", "https://evil.example")], 403),
                ([("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")], 403),
                ([("Origin", "https://friend.example"), ("Sec-Fetch-Site", "cross-site")], 101),
                ([("Origin", site.url)], 101),
                ([], 101),
            ):
                async with Raw(site.url) as raw:
                    assert (await raw.websocket(*headers, path=path)).status == wanted, headers


async def test_reading_pauses_while_a_handler_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that floods a busy handler fills the kernel's buffers, not the process's memory."""
    go_on = asyncio.Event()

    class Slow(Echo):
        closed: list[tuple[int | None, str | None]] = []
        sockets: list[WebSocketHandler] = []

        async def on_message(self, message: str | bytes) -> None:
            await go_on.wait()

    modules = fork(monkeypatch, routes=[("/slow", Slow)])
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        await raw.websocket(path="/slow")
        raw.send("begin")
        (stream,) = site.app.http_server.connections.streams
        for _ in range(300):
            raw.send(b"x" * 100_000, opcode=2)
        await asyncio.sleep(0.2)
        unsent = raw.writer.transport.get_write_buffer_size()
        assert unsent > 10_000_000
        assert len(stream._read_buffer) < 1_000_000
        go_on.set()
        await asyncio.wait_for(raw.writer.drain(), 10)


async def test_a_handler_detaches_its_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may speak its own protocol; the process closes it when it stops."""

    class Tunnel(tornado.web.RequestHandler):
        async def get(self) -> None:
            stream = self.detach()
            await stream.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            with contextlib.suppress(StreamClosedError):
                while True:
                    await stream.write((await stream.read_until(b"\n")).upper())

    modules = fork(monkeypatch, routes=[("/tunnel", Tunnel)])
    async with contextlib.AsyncExitStack() as stack:
        async with serve(tmp_path, modules=modules) as site:
            raw = await stack.enter_async_context(Raw(site.url))
            raw.write("/tunnel")
            assert (await raw.answer()).status == 101
            raw.writer.write(b"abc\n")
            assert await raw.reader.readline() == b"ABC\n"
        await raw.until_end()


async def test_a_response_that_has_begun_cannot_be_detached() -> None:
    seen: list[str] = []

    class Late(tornado.web.RequestHandler):
        async def get(self) -> None:
            self.write("begun")
            await self.flush()
            try:
                self.detach()
            except RuntimeError as error:
                seen.append(str(error))
                raise

    async with http_site() as site:
        site.app.add_handlers(".*", [("/late", Late)])
        client = await site.client()
        await client.send(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.rest()
        await client.close()
    assert seen == ["only a finished 101, or no response at all, can be detached"]


async def test_a_connection_with_tls_is_not_detached_but_closed() -> None:
    contexts = tls_contexts()

    class Plain(WebSocketHandler):
        pass

    async with http_site(ssl=contexts[0]) as site:
        site.app.add_handlers(".*", [("/ws", Plain)])
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=contexts[1])
        head = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
        writer.write(f"GET /ws HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_a_plain_websocket_holds_one_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's descriptor and the stream's are both closed at the end."""

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async with echo_site(tmp_path, monkeypatch) as (site, own):
        before = descriptors()
        for number in range(5):
            with socket.create_connection(site.url.removeprefix("http://").split(":")) as plain:  # type: ignore[arg-type]
                plain.setblocking(False)
                loop = asyncio.get_running_loop()
                head = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
                await loop.sock_sendall(
                    plain, f"GET /echo HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()
                )
                assert (await loop.sock_recv(plain, 1000)).startswith(b"HTTP/1.1 101")
                await until(lambda: descriptors() == before + 2)
            await until(lambda seen=number + 1: len(own.closed) == seen)
        await until(lambda: descriptors() == before)
