"""Upgrades: the HTTP server hands its transport over to another protocol."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from app.transport.http.connection import HttpConnection
from app.transport.http.exchange import Exchange, Handover
from tests.support.http_client import Client, status
from tests.support.http_site import HttpSite, http_site
from tests.support.socket_server import tls_contexts
from tests.support.waiting import until


class Upgraded(asyncio.BufferedProtocol):
    """Echoes in upper case."""

    def __init__(self, connection: Handover) -> None:
        self.transport = connection.transport
        self.buffer = memoryview(bytearray(1000))
        self.transport.set_protocol(self)
        self.transport.write(connection.unsent + connection.received.upper())

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]).upper())


class UpgradedPlain(asyncio.Protocol):
    """The same by another kind of protocol, as WebSocket is one."""

    def __init__(self, connection: Handover) -> None:
        self.transport = connection.transport
        self.transport.pause_reading()
        self.transport.set_protocol(self)
        self.transport.resume_reading()
        self.transport.write(connection.unsent + connection.received.upper())

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


async def _upgrade(
    site: HttpSite, client: Client, upgraded: Callable[[Handover], object]
) -> list[weakref.ref[Any]]:
    """Upgrade, exchange a few bytes, and return references to the objects of the request."""
    import tornado.web

    remains: list[weakref.ref[Any]] = []
    done: list[bool] = []

    class Handler(tornado.web.RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0.02)  # the early bytes of the client arrive meanwhile
            exchange = self.request.connection
            assert isinstance(exchange, Exchange)
            self.clear_header("Content-Type")
            self.set_status(101)
            self.finish()
            remains.extend([weakref.ref(self), weakref.ref(self.request), weakref.ref(exchange)])
            upgraded(exchange.hand_over())
            done.append(True)

    site.app.add_handlers(".*", [("/up", Handler)])
    await client.send(b"GET /up HTTP/1.1\r\nHost: x\r\n\r\nearly")
    assert status(await client.until(b"\r\n\r\n")) == 101
    await until(lambda: done)
    await client.send(b"late")
    assert await client.until(b"LATE") == b"EARLYLATE"
    return remains


def _http_connections() -> set[int]:
    """Return the ids of all HTTP connections in this process."""
    return {id(thing) for thing in gc.get_objects() if isinstance(thing, HttpConnection)}


@pytest.mark.parametrize("upgraded", [Upgraded, UpgradedPlain])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_transport_is_handed_over_with_the_bytes_already_read(
    loop: str, tls: bool, upgraded: Callable[[Handover], object]
) -> None:
    """No object of the request stays alive, and no reference cycle is left."""
    contexts = tls_contexts() if tls else (None, None)

    async def hand_over() -> None:
        async with http_site(ssl=contexts[0]) as site:
            gc.collect()
            others = _http_connections()  # of other tests in this process
            client = Client(*await asyncio.open_connection("127.0.0.1", site.port, ssl=contexts[1]))
            gc.disable()
            try:
                remains = await _upgrade(site, client, upgraded)
                assert not site.server.connections
                await until(lambda: [ref() for ref in remains] == [None] * 3, 3)
                await until(lambda: _http_connections() <= others, 3)
            finally:
                gc.enable()
                await client.close()  # uvloop would wait for it at its end
            await asyncio.sleep(0.05)

    if loop == "uvloop":
        pytest.importorskip("uvloop").run(asyncio.wait_for(hand_over(), 10))
    else:
        asyncio.run(asyncio.wait_for(hand_over(), 10))


async def test_hand_over_raises_before_a_101() -> None:
    """The connection stays an HTTP connection."""
    async with http_site() as site:
        seen: list[Any] = []
        start = site.app.start_request

        def remember(server: object, exchange: Any) -> Any:
            seen.append(exchange)
            return start(server, exchange)

        site.app.start_request = remember  # type: ignore[method-assign,assignment]
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        with pytest.raises(RuntimeError):
            seen[0].hand_over()
        await client.close()
