"""The HTTP server answers alike however its input is split, and as Tornado's server does."""

from __future__ import annotations

import asyncio
import logging
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tornado.httpserver import HTTPServer
from tornado.web import Application

from app.transport.http.dispatcher import Dispatcher
from tests.support.http_client import request
from tests.support.http_site import HttpSite, http_site

ALL_CHECKS: Any = list(HealthCheck)  # Any: hypothesis types its enumeration oddly


CHUNKED = "Transfer-Encoding: chunked"


_STREAMS = st.sampled_from(
    [
        request(),
        request("/", "Content-Length: 3", method="POST", body="abc"),
        request("/", CHUNKED, method="POST", body="3\r\nabc\r\n0\r\n\r\n"),
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + request("/b"),
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + request("/b"),
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + request(),
        b"GET / HTTP/1.0\r\n\r\n",
        b"\r\n" + request("/status/204"),
        request("/stream", "Content-Length: 3", method="POST", body="abc"),
        request("/stream?refuse=1", "Content-Length: 3", method="POST", body="abc"),
        request("/stream", CHUNKED, method="POST", body="3\r\nabcX"),
        request("/", "Expect: 100-continue", "Content-Length: 3", method="POST", body="abc"),
        request("/", CHUNKED, method="POST", body="3e9\r\n" + "a" * 1001 + "\r\n0\r\n\r\n"),
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 600 + b"\r\n\r\n",
        b"G" * 700,
        b"BAD\r\n\r\n" + request(),
    ]
)


_SAME = [
    request(),
    request("/a?b=%20&c"),
    request("/", "X-A: 1", "X-A: 2", "Cookie: a=b"),
    request("/", "Content-Length: 3", method="POST", body="abc"),
    request("/", CHUNKED, method="POST", body="3\r\nabc\r\n0\r\n\r\n"),
    request("/", method="HEAD"),
    request("/", method="OPTIONS"),
    request("/", method="DELETE"),
    request("/", method="BREW"),
    request("/", method="PROPFIND"),
    request("/pieces"),
    request("/pieces", method="HEAD"),
    request("/status/204"),
    request("/status/304"),
    request("/status/404"),
    request("/stream", "Content-Length: 3", method="POST", body="abc"),
    request("/stream", CHUNKED, method="POST", body="3\r\nabc\r\n0\r\n\r\n"),
    request("/", 'If-None-Match: "*"'),
    request("/%ff?%ff"),
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET /pieces HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: y\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + request("/b"),
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" + request("/b"),
]


def _without_date(answer: bytes) -> bytes:
    """Return the response without its Date header."""
    return re.sub(rb"Date: [^\r]*\r\n", b"", answer)


@given(stream=_STREAMS, cuts=st.lists(st.integers(1, 700), max_size=8))
@settings(max_examples=120, deadline=None, suppress_health_check=ALL_CHECKS)
def test_any_split_of_a_stream_gets_the_same_answers(stream: bytes, cuts: list[int]) -> None:
    """The responses do not depend on the segments in which a request arrives."""

    async def compare() -> None:
        at = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
        pieces = [stream[start:end] for start, end in pairwise(at)]
        async with http_site(max_header_size=512) as site:
            whole = await site.talk(stream)
            assert _without_date(await site.talk(*pieces)) == _without_date(whole)
            assert whole

    asyncio.run(asyncio.wait_for(compare(), 20))


@given(
    data=st.lists(
        st.binary(max_size=30)
        | st.sampled_from([b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"0\r\n\r\n"])
        | st.sampled_from([b"POST /stream HTTP/1.1\r\nHost: x\r\n", b"Content-Length: 4\r\n"])
        | st.sampled_from([b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"4\r\n"]),
        max_size=12,
    )
)
@example([b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"\xff"])
@settings(max_examples=150, deadline=None, suppress_health_check=ALL_CHECKS)
def test_any_bytes_get_answers_or_a_close(data: list[bytes]) -> None:
    """The server logs no traceback, and each connection ends in time."""
    records: list[logging.LogRecord] = []
    watch = logging.Handler(logging.ERROR)
    watch.emit = records.append  # type: ignore[method-assign,assignment]

    async def throw() -> None:
        errors: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, error: errors.append(error))
        async with http_site(header_timeout=0.1, body_timeout=0.1, keep_alive_timeout=0.1) as site:
            answer = await site.talk(*data)
            assert not answer or answer.startswith(b"HTTP/1.1 ")
        assert not errors

    logging.getLogger().addHandler(watch)
    try:
        asyncio.run(asyncio.wait_for(throw(), 20))
    finally:
        logging.getLogger().removeHandler(watch)
    assert not [record.getMessage() for record in records]


@pytest.mark.parametrize("application", [Dispatcher, Application])
@pytest.mark.parametrize("data", _SAME, ids=lambda data: data.partition(b"\r")[0].decode())
async def test_responses_equal_those_of_tornados_server(
    data: bytes, application: type[Application]
) -> None:
    """Compare the status, the body and all headers but Date, for both kinds of application."""
    theirs = HttpSite(Application)
    server = HTTPServer(theirs.app, max_body_size=1000)
    server.listen(0, "127.0.0.1")
    theirs.port = next(iter(server._sockets.values())).getsockname()[1]
    try:
        async with http_site(application) as ours:
            assert _without_date(await ours.talk(data)) == _without_date(await theirs.talk(data))
    finally:
        server.stop()
        await server.close_all_connections()
