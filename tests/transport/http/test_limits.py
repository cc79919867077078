"""The HTTP server's limits: sizes, timeouts, log lines, and the time to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from typing import Any

import pytest

from tests.support.http_client import request, status
from tests.support.http_site import Stream, http_site
from tests.support.waiting import until

CHUNKED = "Transfer-Encoding: chunked"


async def seconds_until_closed(client: object) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await client.rest()  # type: ignore[attr-defined]
    return loop.time() - began


# Sizes


@pytest.mark.attack("A26")
async def test_a_head_may_be_as_large_as_the_limit_and_no_larger() -> None:
    """The size includes the request line and the last empty line."""
    async with http_site(max_header_size=300) as site:
        room = 300 - len(request("/", "A: "))
        assert status(await site.talk(request("/", "A: " + "b" * room))) == 200
        assert status(await site.talk(request("/", "A: " + "b" * (room + 1)))) == 431


@pytest.mark.attack("A26")
async def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    """A Content-Length is refused at once, a chunked body once it is too large."""
    async with http_site(max_body_size=1000) as site:
        for size, wanted in ((1000, 200), (1001, 413)):
            length, body = f"Content-Length: {size}", "a" * size
            answer = await site.talk(request("/", length, method="POST", body=body))
            assert status(answer) == wanted
            body = f"{size:x}\r\n{body}\r\n0\r\n\r\n"
            answer = await site.talk(request("/", CHUNKED, method="POST", body=body))
            assert status(answer) == wanted
        early = request("/", "Content-Length: 1001", "Expect: 100-continue", method="POST")
        answer = await site.talk(early)
        assert status(answer) == 413
        assert b"Connection: close" in answer


@pytest.mark.parametrize(("limit", "wanted"), [(2000, 200), (500, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_handler_may_change_the_body_limit_of_its_request(
    limit: int, wanted: int, chunked: bool
) -> None:
    """It does so in prepare(), and the next request has the default again."""
    async with http_site(max_body_size=1000) as site:
        body = "a" * 800
        if chunked:
            data = (CHUNKED, f"320\r\n{body}\r\n0\r\n\r\n")
        else:
            data = ("Content-Length: 800", body)
        target = f"/stream?limit={limit}"
        answer = await site.talk(request(target, data[0], method="POST", body=data[1]))
        assert status(answer) == wanted


async def test_a_client_that_goes_on_sending_still_gets_its_413() -> None:
    """The server drops the body for a while, because a reset could discard the response."""
    async with http_site() as site:
        client = await site.client()
        await client.send(request("/", "Content-Length: 3000000", method="POST"))
        for _ in range(30):
            client.writer.write(b"a" * 100_000)
            await (
                client.writer.drain()
            )  # raises ConnectionResetError if the server resets the connection
            await asyncio.sleep(0.005)
        assert status(await client.rest()) == 413
        await client.close()


async def test_a_client_that_never_stops_sending_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the response the server reads for two seconds, and up to a number of bytes."""
    monkeypatch.setattr("app.transport.http.connection.LINGER_TIMEOUT", 60.0)
    async with http_site() as site:
        client = await site.client()
        await client.send(request("/", "Content-Length: 1000000000000", method="POST"))
        await asyncio.wait_for(client.send(b"a" * 60_000_000), 10)
        await until(lambda: not site.server.connections)
        await client.close()


# Timeouts


@pytest.mark.attack("A25")
async def test_a_slow_head_gets_408() -> None:
    """The deadline begins with the first byte; later bytes do not extend it."""
    async with http_site(header_timeout=0.3) as site:
        client = await site.client()
        began = asyncio.get_running_loop().time()

        async def trickle() -> None:
            for byte in request() * 10:
                await client.send(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert status(await client.rest()) == 408
        assert asyncio.get_running_loop().time() - began > 0.25
        assert not trickling.done()
        trickling.cancel()
        await client.close()


@pytest.mark.attack("A25")
async def test_a_slow_body_gets_408() -> None:
    """The connection closes, and the handler's on_connection_close runs."""
    async with http_site(body_timeout=0.3) as site:
        client = await site.client()
        await client.send(request("/stream", "Content-Length: 100", method="POST"))
        await client.send(b"a")
        assert status(await client.rest()) == 408
        assert site.left == 1
        await client.close()


async def test_a_handler_may_change_the_body_timeout_of_its_request() -> None:
    """It does so in prepare(), and the next request has the default again."""
    async with http_site(body_timeout=0.4) as site:
        target = "/stream?timeout=0.1"
        client = await site.client()
        await client.send(request(target, "Content-Length: 100", method="POST"))
        assert await seconds_until_closed(client) < 0.35
        await client.close()
    async with http_site(body_timeout=0.1) as site:
        client = await site.client()
        await client.send(request("/stream?timeout=5", "Content-Length: 1", method="POST"))
        await asyncio.sleep(0.4)
        await client.send(b"a")
        assert status(await client.rest()) == 200
        await client.close()


async def test_an_idle_connection_is_closed_without_a_response() -> None:
    """The first request must begin in the time for a head, the next in that for keep-alive."""
    async with http_site(header_timeout=0.2, keep_alive_timeout=0.6) as site:
        client = await site.client()
        assert await client.rest() == b""
        await client.close()
        client = await site.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.response()
        assert 0.5 < await seconds_until_closed(client) < 1.5
        await client.close()


async def test_a_handler_may_take_longer_than_all_timeouts() -> None:
    """A poll waits longer for its packets than any of these timeouts."""
    async with http_site(header_timeout=0.1, body_timeout=0.1, keep_alive_timeout=0.1) as site:
        client = await site.client()
        await client.send(request("/wait"))
        await asyncio.sleep(0.5)
        site.go_on.set()
        assert (await client.rest()).endswith(b"done")
        await client.close()


@pytest.mark.attack("A28")
async def test_a_client_that_does_not_read_is_cut() -> None:
    """The client read nothing of the response within the body timeout."""
    async with http_site(body_timeout=0.3) as site:
        client = await site.client()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(request("/pieces?n=30000000"))
        await until(lambda: site.server.connections)
        await until(lambda: not site.server.connections)
        await client.close()


async def test_a_client_that_reads_slowly_gets_the_whole_response() -> None:
    """It reads something within each timeout."""
    async with http_site(body_timeout=0.3) as site:
        client = await site.client()
        await client.send(request("/pieces?n=4000000"))
        data = b""
        while piece := await client.reader.read(400_000):
            data += piece
            await asyncio.sleep(0.05)
        assert data.endswith(b"\r\n0\r\n\r\n")
        assert len(data) > 8_000_000
        await client.close()


async def test_a_client_that_reads_very_slowly_is_not_cut() -> None:
    """The kernel holds megabytes, so the server's own buffer stays the same for a while."""
    async with http_site(body_timeout=0.3) as site:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        plain.connect(("127.0.0.1", site.port))
        plain.sendall(request("/pieces?n=4000000"))
        plain.setblocking(False)
        loop, received = asyncio.get_running_loop(), 0
        while received < 600_000:
            piece = await loop.sock_recv(plain, 10_000)
            assert piece, "cut though it reads"
            received += len(piece)
            await asyncio.sleep(0.02)
        assert site.server.connections
        plain.close()


async def test_the_body_deadline_waits_while_the_handler_pauses_reading() -> None:
    """The client has already sent the whole body."""
    async with http_site(body_timeout=0.3) as site:
        original = Stream.data_received

        async def slow(handler: Stream, chunk: bytes) -> None:
            await asyncio.sleep(0.7)
            await original(handler, chunk)

        Stream.data_received = slow  # type: ignore[method-assign,assignment]
        try:
            body = "x" * 100_000
            client = await site.client()
            length = f"Content-Length: {len(body)}"
            await client.send(request("/stream?limit=200000", length, method="POST", body=body))
            assert status(await client.rest()) == 200
            await client.close()
        finally:
            Stream.data_received = original  # type: ignore[method-assign]


async def test_a_body_that_has_arrived_is_not_late() -> None:
    """The handler needs longer for the body than the client's deadline."""
    async with http_site(body_timeout=0.2) as site:
        original = Stream.data_received

        def slow(handler: Stream, chunk: bytes) -> None:
            time.sleep(0.03)
            handler.pieces.append(chunk)

        Stream.data_received = slow  # type: ignore[method-assign, assignment]
        try:
            body = "x" * 1_000_000
            client = await site.client()
            length = f"Content-Length: {len(body)}"
            await client.send(request("/stream?limit=2000000", length, method="POST", body=body))
            assert status(await client.rest()) == 200
            await client.close()
        finally:
            Stream.data_received = original  # type: ignore[method-assign]


async def test_a_failed_write_cuts_only_its_own_connection() -> None:
    """uvloop's transport refuses a write just after the client has left."""

    class Broken:
        def __init__(self, transport: Any) -> None:
            self._transport = transport

        def __getattr__(self, name: str) -> Any:
            if name == "write":
                raise RuntimeError("made to fail")
            return getattr(self._transport, name)

    async with http_site() as site:
        broken = await site.client()
        await until(lambda: site.server.connections)
        (connection,) = site.server.connections
        connection.writer._transport = Broken(connection._transport)  # type: ignore[assignment]
        await broken.send(request())
        assert await broken.rest() == b""
        assert status(await site.talk(request())) == 200
        await broken.close()


async def test_a_client_that_catches_up_may_stay() -> None:
    """Once the response has been read, the connection serves the next request."""
    async with http_site(body_timeout=0.2) as site:
        client = await site.client()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /large?n=9000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.1)
        client.reader._transport.resume_reading()  # type: ignore[attr-defined]
        await client.response()
        await asyncio.sleep(0.6)
        await client.send(request())
        assert status(await client.rest()) == 200
        await client.close()


async def test_the_next_request_waits_until_the_client_reads() -> None:
    """The server begins the next requests after the client has read the response."""
    async with http_site() as site:
        client = await site.client()
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.create_task(
            client.send(b"GET /large?n=9000000 HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        )
        await asyncio.sleep(0.3)
        assert site.waiting == 1
        client.writer.transport.abort()
        await sending


async def test_there_is_no_timer_per_request() -> None:
    """One sweep checks the deadlines of all connections."""
    async with http_site() as site:
        loop: Any = asyncio.get_running_loop()
        if not hasattr(loop, "_scheduled"):
            pytest.skip("this loop does not tell of its timers")
        before = len(loop._scheduled)
        clients = [await site.client() for _ in range(20)]
        for client in clients:
            await client.send(b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.1)
        assert len(loop._scheduled) - before <= 1
        for client in clients:
            await client.close()


# The log


async def test_invalid_requests_are_logged_briefly_without_their_content(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has no traceback, no line break of a client, and few lines a second."""
    caplog.set_level(logging.INFO)
    async with http_site() as site:
        for _ in range(30):
            await site.talk(b"GET /evil\x01word HTTP/1.1\r\nHost: evil word\r\n\r\n")
            await site.talk(request("/").replace(b"Host: x", b"Host: evil/word"))
    records = [record for record in caplog.records if record.name.startswith("app")]
    assert 0 < len(records) <= 20
    assert not any(record.exc_info or "evil" in record.getMessage() for record in records)


# Closing


async def test_closing_lets_active_requests_finish() -> None:
    """Idle connections close at once; the last response has `Connection: close`."""
    async with http_site() as site:
        idle, busy = await site.client(), await site.client()
        await idle.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle.response()
        await busy.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        closing = asyncio.create_task(site.server.close(5.0))
        assert await idle.rest() == b""
        with pytest.raises(OSError):
            await site.client()
        assert not closing.done()
        site.go_on.set()
        answer = await busy.rest()
        assert b"Connection: close" in answer
        assert answer.endswith(b"done")
        assert await closing
        await idle.close()
        await busy.close()


async def test_closing_waits_for_a_response_that_has_begun() -> None:
    """The connection then closes, even if the head did not announce it."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait?early=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.until(b"\r\n\r\n")
        closing = asyncio.create_task(site.server.close(5.0))
        await asyncio.sleep(0.05)
        site.go_on.set()
        assert await client.rest(1.0) == b"4\r\ndone\r\n0\r\n\r\n"
        assert await closing
        await client.close()


async def test_closing_cuts_requests_that_take_too_long() -> None:
    """The server waits as many seconds as its argument says."""
    async with http_site() as site:
        client = await site.client()
        await client.send(request("/wait"))
        await until(lambda: site.waiting)
        assert not await site.server.close(0.1)
        assert await client.rest() == b""
        assert site.left == 1
        await client.close()


async def test_closing_closes_connections_that_were_just_accepted() -> None:
    """This holds at any moment of the stop."""
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
    for turns in range(6):
        async with http_site() as site:
            # no await before this, so that the loop accepts it while the server stops
            with socket.create_connection(("127.0.0.1", site.port)) as sock:
                for _ in range(turns):
                    await asyncio.sleep(0)
                await site.server.close(1.0)
                assert not site.server.connections
                sock.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    assert sock.recv(1) == b""  # BlockingIOError if it is still open
    assert not errors
