"""Responses: date, framing, and backpressure on the handler that writes them."""

from __future__ import annotations

import asyncio
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.web import Application

from app.transport.http.head import parse_head
from app.transport.http.headers import Headers
from app.transport.http.response import Response
from tests.support.http_client import request, status
from tests.support.http_site import http_site
from tests.support.waiting import until


async def test_every_response_has_one_date() -> None:
    """A refusal has the current date too (RFC 9110, 6.6.1)."""
    async with http_site(Application) as theirs, http_site() as ours:
        for site, data in ((theirs, request()), (ours, request()), (ours, b"no HTTP\r\n\r\n")):
            began = int(time.time())
            dates = re.findall(rb"\r\nDate: ([^\r]+)", await site.talk(data))
            (date,) = [parsedate_to_datetime(date.decode()).timestamp() for date in dates]
            assert began <= date <= time.time()


async def test_a_response_without_length_is_chunked() -> None:
    """This holds for HTTP/1.1 only, and never for HEAD."""
    async with http_site() as site:
        assert (await site.talk(request("/pieces"))).endswith(
            b"Transfer-Encoding: chunked\r\n\r\n3\r\naaa\r\n3\r\nbbb\r\n0\r\n\r\n"
        )
        assert (await site.talk(b"GET /pieces HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\naaabbb")
        assert (await site.talk(request("/pieces", method="HEAD"))).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("code", [204, 304])
async def test_204_and_304_have_neither_body_nor_length(code: int, method: str) -> None:
    """RFC 9112, 6.3."""
    async with http_site() as site:
        answer = await site.talk(request(f"/status/{code}", method=method))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status(answer) == code
        assert body == b""
        assert b"Content-Length" not in head
        assert b"Transfer-Encoding" not in head


@pytest.mark.parametrize("case", ["short", "long", "header"])
async def test_a_response_that_would_break_the_framing_is_cut(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The body differs from its Content-Length, or a header contains a line break."""
    async with http_site() as site:
        data = f"GET /raw?case={case} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + request("/second")
        answer = await site.talk(data)
        assert b"Set-Cookie" not in answer
        assert b"/second" not in answer
    assert "Content-Length" in caplog.text or "CR, LF" in caplog.text


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\0"])
@pytest.mark.parametrize("kind", [Headers, HTTPHeaders])
def test_a_response_refuses_a_header_that_would_end_its_line(
    kind: type[HTTPHeaders], end: str
) -> None:
    headers = kind()
    headers["Location"] = f"/a{end}Set-Cookie: b=c"
    response = Response(parse_head(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    with pytest.raises(ValueError, match="CR, LF or NUL"):
        response.begin(ResponseStartLine("", 200, "OK"), headers, "", last=False)


async def test_a_handler_cannot_write_into_the_next_response() -> None:
    """A late write is dropped: behind a proxy, the next response may be another user's."""
    async with http_site() as site:
        stale: list[Any] = []
        start = site.app.start_request

        def remember(server: object, exchange: Any) -> Any:
            stale.append(exchange)
            return start(server, exchange)

        site.app.start_request = remember  # type: ignore[method-assign,assignment]
        client = await site.client()
        await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.response()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await until(lambda: site.waiting)
        assert stale[0].write(b"secret").exception() is not None
        stale[0].finish()
        site.go_on.set()
        answer = await client.rest()
        assert b"secret" not in answer
        assert answer.endswith(b"done")
        await client.close()


async def test_flush_waits_until_the_client_has_read() -> None:
    """If the client leaves, flush() raises StreamClosedError."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /pieces?n=30000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.server.connections)
        await asyncio.sleep(0.2)
        (connection,) = site.server.connections
        assert connection.writer.congested
        assert len(connection.writer._waiters) == 1
        (waiter,) = connection.writer._waiters
        client.writer.transport.abort()
        await until(lambda: waiter.done())
        assert type(waiter.exception()).__name__ == "StreamClosedError"
