"""A whole response is held until the end of its turn, and leaves before what follows it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import tornado.web

from app.transport import flush_queue
from app.transport.http.connection import HttpConnection
from app.transport.http.exchange import Exchange
from tests.support.http_client import request, status
from tests.support.http_site import HttpSite, http_site
from tests.support.recorded import Recorded
from tests.support.socket_server import tls_contexts
from tests.support.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def connections_of(site: HttpSite, clients: int) -> list[HttpConnection]:
    """Return the server's connections once so many clients are there."""
    await until(lambda: len(site.server.connections) == clients)
    return list(site.server.connections)


def ask(connection: HttpConnection, head: bytes = GET) -> None:
    """Let a request arrive in this turn of the loop."""
    connection.server.read_buffer[: len(head)] = head
    connection.buffer_updated(len(head))


@pytest.mark.parametrize("wait", [60.0, 0.0], ids=["quick pages", "slow pages"])
async def test_responses_leave_after_all_requests_of_the_turn(
    wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the pages take long."""
    monkeypatch.setattr(flush_queue, "_MAX_WAIT", wait)
    async with http_site() as site:
        clients = [await site.client() for _ in range(3)]
        notes: list[str] = []
        for connection in await connections_of(site, 3):
            writer: Any = connection.writer
            writer._transport = Recorded(writer._transport, notes)
            ask(connection)
            notes.append("request")
        for client in clients:
            assert status((await client.response())[0]) == 200
        assert notes == (["write", "request"] * 3 if not wait else ["request"] * 3 + ["write"] * 3)
        for client in clients:
            await client.close()


async def test_the_next_request_waits_until_a_held_response_is_taken() -> None:
    """Before the next one begins, and may be an upgrade, the held response is written."""
    async with http_site() as site:
        client = await site.client()
        (connection,) = await connections_of(site, 1)

        class Full(Recorded):
            def write(self, data: bytes) -> None:
                super().write(data)
                connection.pause_writing()  # as a transport with a full buffer does

        notes: list[str] = []
        writer: Any = connection.writer
        writer._transport = Full(writer._transport, notes)
        ask(connection)
        assert notes == []
        ask(connection, GET.replace(b"/ ", b"/second "))
        assert notes == ["write"]
        assert connection.requests.exchange is None
        connection.resume_writing()
        assert status((await client.response())[0]) == 200
        assert b"/second" in (await client.response())[1]
        await client.close()


async def test_with_tls_a_response_leaves_at_once() -> None:
    """A transport of TLS drops what is written after the client's end."""
    server, client = tls_contexts()
    async with http_site(ssl=server) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port, ssl=client)
        (connection,) = await connections_of(site, 1)
        notes: list[str] = []
        held: Any = connection.writer
        held._transport = Recorded(held._transport, notes)
        ask(connection)
        assert notes == ["write"]
        assert (await reader.read(1000)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_a_held_response_is_counted_as_untaken() -> None:
    """A stop, and the heartbeat of a polling client, wait until it has left."""
    async with http_site() as site:
        client = await site.client()
        (connection,) = await connections_of(site, 1)
        ask(connection)
        untaken = connection.writer.untaken()
        head, body = await client.response()
        assert untaken == len(head) + len(body)
        assert connection.writer.untaken() == 0
        await client.close()


@pytest.mark.parametrize("end", ["next", "EOF", "close", "abort"])
async def test_a_held_response_leaves_before_what_follows_it(end: str) -> None:
    """The next response, the end of the client's side, and both ends of the connection."""
    async with http_site() as site:
        client = await site.client()
        (connection,) = await connections_of(site, 1)
        ask(connection)
        if end == "next":
            ask(connection, request("/second"))
        elif end == "EOF":
            if not connection.eof_received():  # as a loop does
                connection.writer._transport.close()
        elif end == "close":
            connection.close_soon()
        else:
            connection.abort()
        answer = await client.rest()
        assert status(answer) == 200
        assert answer.count(b"HTTP/1.1 200") == (2 if end == "next" else 1)
        await client.close()


async def test_a_held_response_leaves_before_the_connection_is_handed_over() -> None:
    class Upgrade(tornado.web.RequestHandler):
        def get(self) -> None:
            exchange = self.request.connection
            assert isinstance(exchange, Exchange)
            self.clear_header("Content-Type")
            self.set_status(101)
            self.finish()
            handover = exchange.hand_over()
            handover.transport.write(handover.unsent + b"upgraded")
            handover.transport.close()

    async with http_site() as site:
        site.app.add_handlers(".*", [("/upgrade", Upgrade)])
        client = await site.client()
        (connection,) = await connections_of(site, 1)
        ask(connection)
        ask(connection, GET.replace(b"/ ", b"/upgrade "))
        answer = await client.rest()
        assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 101")
        assert answer.endswith(b"upgraded")
        await client.close()
