"""The HTTP server: what it reads, what it answers, what it refuses (RFC 9110 and 9112)."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import re
import time
import weakref
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tornado import httputil
from tornado.httpserver import HTTPServer
from tornado.web import Application

from app.transport.http import writer as http_writer
from app.transport.http.body import ChunkedBody, FixedBody
from app.transport.http.connection import HttpConnection
from app.transport.http.dispatcher import Dispatcher
from app.transport.http.exchange import Exchange, Handover
from app.transport.http.head import Refused, find_head, parse_head
from tests.support.http_client import Client, request, status
from tests.support.http_site import HttpSite, http_site
from tests.support.socket_server import tls_contexts
from tests.support.waiting import until

ALL_CHECKS: Any = list(HealthCheck)  # Any: hypothesis types its enumeration oddly

CHUNKED = "Transfer-Encoding: chunked"

# Heads


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\nHost: x\r\n\r\n", id="bare LF after the request line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", id="bare LF after a field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\nA: b\r\n\r\n", id="bare LF as empty line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", id="bare CR"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", id="CR CR LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", id="folded line"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", id="folded first line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", id="space before colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost\t: x\r\n\r\n", id="tab before colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", id="NUL"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: \x0bb\r\n\r\n", id="control character"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n", id="DEL"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", id="no name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n", id="no colon"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\xc3\xa4: b\r\n\r\n", id="name not ASCII"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA(b): c\r\n\r\n", id="name no token"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", id="two spaces"),
        pytest.param(b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n", id="two spaces before the version"),
        pytest.param(b"GET / HTTP/1.1 \r\nHost: x\r\n\r\n", id="space at the end"),
        pytest.param(b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", id="tab"),
        pytest.param(b"GET / a HTTP/1.1\r\nHost: x\r\n\r\n", id="space in the target"),
        pytest.param(b"GET /\r\n\r\n", id="HTTP/0.9"),
        pytest.param(b"GET / ICE/1.0\r\n\r\n", id="another protocol"),
        pytest.param(b"GET / http/1.1\r\nHost: x\r\n\r\n", id="protocol in lower case"),
        pytest.param(b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", id="version of two digits"),
        pytest.param(b"get / HTTP/1.1\r\nHost: x\r\n\r\n", id="method in lower case"),
        pytest.param(b"GET /\xc3\xa4 HTTP/1.1\r\nHost: x\r\n\r\n", id="target not ASCII"),
        pytest.param(b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n", id="fragment"),
        pytest.param(b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", id="relative target"),
        pytest.param(b"GET * HTTP/1.1\r\nHost: x\r\n\r\n", id="asterisk for GET"),
        pytest.param(b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", id="target of another host"),
        pytest.param(b"GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n", id="user in the target"),
        pytest.param(b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", id="target of another scheme"),
        pytest.param(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", id="CONNECT"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", id="Host with a path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", id="Host with a space"),
        pytest.param(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", id="two empty lines before"),
        pytest.param(b"\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", id="LF before"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS to a plain port"),
    ],
)
async def test_a_malformed_head_is_refused(head: bytes) -> None:
    """With 400 and the end of the connection, and without waiting for more."""
    async with http_site() as site:
        answer = await site.talk(head + request("/second"))
        assert status(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(("Content-Length: 3", CHUNKED), id="both"),
        pytest.param((CHUNKED, "Content-Length: 3"), id="both, the other way round"),
        pytest.param(("Content-Length: 3", "Content-Length: 4"), id="two lengths"),
        pytest.param(("Content-Length: 3", "Content-Length: 3"), id="the same length twice"),
        pytest.param(("Content-Length: 3, 3",), id="list of lengths"),
        pytest.param(("Content-Length: +3",), id="plus"),
        pytest.param(("Content-Length: -3",), id="minus"),
        pytest.param(("Content-Length: 0x3",), id="hexadecimal"),
        pytest.param(("Content-Length: 1_0",), id="underscore"),
        pytest.param(("Content-Length: 3 3",), id="space inside"),
        pytest.param(("Content-Length:",), id="empty"),
        pytest.param(("Content-Length: \xb2",), id="a digit that is not ASCII"),
        pytest.param(("Content-Length: 99999999999999999999",), id="more than 64 bits"),
        pytest.param(("Transfer-Encoding: gzip, chunked",), id="two codings"),
        pytest.param((CHUNKED, CHUNKED), id="chunked twice"),
        pytest.param((CHUNKED, "Transfer-Encoding: identity"), id="chunked, identity"),
        pytest.param(("Transfer-Encoding: identity",), id="identity"),
        pytest.param(("Transfer-Encoding: xchunked",), id="xchunked"),
        pytest.param(("Transfer-Encoding: chunked;q=1",), id="parameter"),
        pytest.param(("Transfer-Encoding: ,chunked",), id="comma first"),
        pytest.param(('Transfer-Encoding: "chunked"',), id="quotes"),
        pytest.param(("Transfer-Encoding:",), id="empty coding"),
        pytest.param(("Transfer-Encoding: \xa0chunked",), id="no-break space"),
    ],
)
async def test_a_doubtful_length_is_refused(fields: tuple[str, ...]) -> None:
    """Whatever two servers might frame in two ways smuggles requests (RFC 9112, 6.3 and 11.2)."""
    async with http_site() as site:
        answer = await site.talk(request("/", *fields, method="POST", body="3\r\nabc\r\n0\r\n\r\n"))
        assert status(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_chunked_body_of_http_10_is_refused() -> None:
    """HTTP/1.0 has none, so a proxy may have framed it otherwise (RFC 9112, 6.1)."""
    async with http_site() as site:
        answer = await site.talk(f"POST / HTTP/1.0\r\n{CHUNKED}\r\n\r\n0\r\n\r\n".encode())
        assert status(answer) == 400


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (request("/", "Expect: tea"), 417),
        (request("/", *["A: b"] * 101), 431),
        (request("/", "A: " + "b" * 16_384), 431),
        (request("/" + "a" * 16_384), 414),
    ],
)
async def test_other_refusals_have_their_own_status(data: bytes, wanted: int) -> None:
    """A version, an expectation, too many fields, too large ones, too long a target."""
    async with http_site() as site:
        assert status(await site.talk(data)) == wanted


@pytest.mark.parametrize(
    ("target", "seen"),
    [("http://x/a?b", "/a?b"), ("HTTP://X", "/"), ("https://x/", "/"), ("//y/a", "//y/a")],
)
async def test_an_absolute_target_is_read_as_its_path(target: str, seen: str) -> None:
    """If its host is the request's own (RFC 9112, 3.2.2)."""
    async with http_site() as site:
        answer = await site.talk(request(target))
        assert json.loads(answer.partition(b"\r\n\r\n")[2])[1] == seen


async def test_one_empty_line_before_a_request_is_nothing() -> None:
    """Old browsers send one after the body of a POST (RFC 9112, 2.2)."""
    async with http_site() as site:
        assert status(await site.talk(b"\r\n" + request())) == 200


async def test_fields_of_one_name_are_all_there() -> None:
    """In their order, and without the spaces around their values."""
    async with http_site() as site:
        answer = await site.talk(request("/", "A: 1 ", "a:\t2", "A:3"))
        headers = json.loads(answer.partition(b"\r\n\r\n")[2])[3]
        assert [value for name, value in headers if name == "A"] == ["1", "2", "3"]


class _Llhttp:
    """Collects what Node's parser reads."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.headers: list[tuple[str, str]] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(httptools.HttpParserUpgrade):
            self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode().lower(), value.decode("latin-1").strip(" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()


_WORDS = (
    st.sampled_from(["GET / HTTP/1.1", "POST /a?b=c HTTP/1.0", "Host: x", "A: b", "A:b "])
    | st.sampled_from(["Content-Length: 2", "content-length:", "Transfer-Encoding: chunked"])
    | st.sampled_from(["Connection: close", "Connection: upgrade", "Upgrade: websocket"])
    | st.sampled_from([" ", "\t", "\n", "\r", "\r\n", ":", "\0", "\xe4", "#", "1", ",", ";"])
)
_LINES = st.lists(st.lists(_WORDS, min_size=1, max_size=3).map("".join), max_size=6)


@given(
    start=st.sampled_from(["GET / HTTP/1.1", "POST /a?b HTTP/1.1", "OPTIONS * HTTP/1.0"]) | _WORDS,
    lines=_LINES,
)
@settings(max_examples=1500, deadline=None)
def test_llhttp_reads_what_is_accepted_in_the_same_way(start: str, lines: list[str]) -> None:
    """Node's parser is no laxer and no stricter in any head that this one takes."""
    data = "\r\n".join([start, *lines, "", ""]).encode("latin-1")
    try:
        end = find_head(data, 16_384)
        head = parse_head(data[:end])
    except Refused:
        return
    other = _Llhttp(data[:end])
    assert other.complete
    assert other.parser.get_method().decode() == head.start_line.method
    assert other.url.decode() == head.start_line.path
    assert sorted(other.headers) == sorted(
        (name.lower(), value) for name, value in head.headers.get_all()
    )
    assert other.keep_alive == head.keep_alive


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("3\r\nabc\r\n0\r\n\r\n", id="one chunk"),
        pytest.param("1\r\na\r\n02\r\nbc\r\n000\r\n\r\n", id="two chunks, leading zeros"),
    ],
)
async def test_a_chunked_body_is_put_together(body: str) -> None:
    async with http_site() as site:
        answer = await site.talk(request("/", CHUNKED, method="POST", body=body))
        assert json.loads(answer.partition(b"\r\n\r\n")[2])[4] == "abc"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("3;a=b\r\nabc\r\n0\r\n\r\n", id="extension"),
        pytest.param("3;\nabc\r\n0\r\n\r\n", id="extension with LF"),
        pytest.param("3 \r\nabc\r\n0\r\n\r\n", id="space after the size"),
        pytest.param("3\nabc\r\n0\r\n\r\n", id="LF after the size"),
        pytest.param("3\r\nabcd\r\n0\r\n\r\n", id="chunk longer than its size"),
        pytest.param("3\r\nabc\n0\r\n\r\n", id="LF after the chunk"),
        pytest.param("3\r\nabc0\r\n\r\n", id="nothing after the chunk"),
        pytest.param("0x3\r\nabc\r\n0\r\n\r\n", id="0x"),
        pytest.param("+3\r\nabc\r\n0\r\n\r\n", id="plus"),
        pytest.param("\r\nabc\r\n0\r\n\r\n", id="no size"),
        pytest.param("-1\r\nabc\r\n0\r\n\r\n", id="minus"),
        pytest.param("100000000\r\nabc\r\n0\r\n\r\n", id="9 digits"),
        pytest.param("0\r\nA: b\r\n\r\n", id="trailer"),
        pytest.param("0\r\n\n\r\n", id="LF at the end"),
    ],
)
async def test_a_malformed_chunk_is_refused(body: str) -> None:
    """Extensions and trailers are, too: parsers differ over them and nobody needs them."""
    async with http_site() as site:
        answer = await site.talk(request("/", CHUNKED, method="POST", body=body))
        assert status(answer) == 400


@given(chunks=st.lists(st.binary(min_size=1, max_size=40)), cuts=st.lists(st.integers(0, 400)))
@settings(max_examples=300, deadline=None)
def test_chunks_in_any_split_are_the_same_body(chunks: list[bytes], cuts: list[int]) -> None:
    """And what follows the body is left over, whole."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\nGET /"
    body, content, rest = ChunkedBody(), b"", b""
    at = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(at):
        rest += data[start:end]
        if not body.done:
            more, rest = body.take(rest)
            content += more
    assert body.done
    assert content == b"".join(chunks)
    assert rest == b"GET /"


def test_a_fixed_body_ends_where_its_length_says() -> None:
    body = FixedBody(3)
    assert body.take(b"ab") == (b"ab", b"")
    assert body.take(b"cGET /") == (b"c", b"GET /")
    assert body.done


# Any bytes, any split

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


def _without_date(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*\r\n", b"", answer)


@given(stream=_STREAMS, cuts=st.lists(st.integers(1, 700), max_size=8))
@settings(max_examples=120, deadline=None, suppress_health_check=ALL_CHECKS)
def test_any_split_of_a_stream_gets_the_same_answers(stream: bytes, cuts: list[int]) -> None:
    """What a client sends means the same however the network cuts it."""

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
    """Never a traceback, never a connection that hangs beyond its time."""
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


# Beside Tornado's own server

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


@pytest.mark.parametrize("application", [Dispatcher, Application])
@pytest.mark.parametrize("data", _SAME, ids=lambda data: data.partition(b"\r")[0].decode())
async def test_the_answers_are_those_of_tornados_server(
    data: bytes, application: type[Application]
) -> None:
    """Status, headers but Date, and body: handlers see no difference, however they are reached."""
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


# Responses


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """HTTP/1.1 keeps it open unless somebody says close."""
    async with http_site() as site:
        client = await site.client()
        for path in ("/a", "/b", "/c"):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, body = await client.response()
            assert json.loads(body)[1] == path
            assert b"Connection" not in head
        await client.close()


async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    """The second is not begun before the first is answered."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + request("/last"))
        await until(lambda: site.waiting)
        await asyncio.sleep(0.05)
        assert site.waiting == 1
        site.go_on.set()
        answer = await client.rest()
        assert site.waiting == 2
        assert answer.count(b"HTTP/1.1 200") == 3
        assert answer.index(b"done") < answer.index(b"/last")
        await client.close()


async def test_a_pipelined_request_does_not_run_in_the_context_of_the_one_before() -> None:
    """A context variable that one handler sets is nothing to the next."""
    import tornado.web

    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    class Handler(tornado.web.RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0.01)
            self.write(user.get())
            user.set("somebody")

    async with http_site() as site:
        site.app.add_handlers(".*", [("/user", Handler)])
        answer = await site.talk(b"GET /user HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + request("/user"))
        assert answer.count(b"nobody") == 3


@pytest.mark.parametrize("waits", [False, True])
async def test_two_requests_never_share_a_task(waits: bool) -> None:
    """What is kept per task of one is not there in another, and is released with it."""
    import tornado.web

    kept: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
    released: list[str] = []

    class Handler(tornado.web.RequestHandler):
        async def get(self, name: str) -> None:
            task: Any = asyncio.current_task()
            self.write(f"{kept.get(task)} {getattr(task, 'user', None)};")
            kept[task] = task.user = name
            task.add_done_callback(lambda _: released.append(name))
            if waits:
                await asyncio.sleep(0)
                assert asyncio.current_task() is task

    async with http_site() as site:
        site.app.add_handlers(".*", [("/user/(.*)", Handler)])
        for name in ("ann", "bob", "ann"):
            assert b"None None;" in await site.talk(request(f"/user/{name}"))
        assert released == ["ann", "bob", "ann"]


async def test_pipelined_requests_take_turns_with_everybody_else() -> None:
    """Each in a turn of the loop of its own, also where none of them waits for anything."""
    import tornado.web

    loop, turns = asyncio.get_running_loop(), 0
    begun: list[Any] = []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(begun) < 50:
            loop.call_soon(turn)

    class Handler(tornado.web.RequestHandler):
        def get(self) -> None:
            begun.append(turns)

    async with http_site() as site:
        site.app.add_handlers(".*", [("/turn", Handler)])
        turn()
        await site.talk(b"GET /turn HTTP/1.1\r\nHost: x\r\n\r\n" * 49 + request("/turn"))
        assert len(set(begun)) == 50


async def test_a_flood_of_pipelined_requests_waits_outside() -> None:
    """Nobody reads on while one of them waits for its turn."""
    longest = 0
    async with http_site() as site:
        client = await site.client()
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5000 + request()
        flood = asyncio.create_task(client.send(data))
        drop = asyncio.create_task(client.rest())
        while not drop.done():
            await asyncio.sleep(0)
            longest = max(
                [longest, *(len(one.requests.input.data) for one in site.server.connections)]
            )
        await flood
        await client.close()
        assert 0 < longest <= 65_536


async def test_what_is_pipelined_waits_outside() -> None:
    """While a request is in hand, one read of the next ones is kept and no more."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        flood = asyncio.create_task(client.send(request() * 400_000))
        await asyncio.sleep(0.2)
        (connection,) = site.server.connections
        assert not flood.done()
        assert len(connection.requests.input.data) <= 65_536
        client.writer.transport.abort()
        await flood


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
async def test_the_connection_closes_when_it_has_to(head: str, keeps: bool) -> None:
    """RFC 9112, 9.3; and the end of a body of unknown length is the end of the connection."""
    async with http_site(keep_alive_timeout=0.4) as site:
        began = asyncio.get_running_loop().time()
        answer = await site.talk(head.encode() + b"\r\n\r\n")
        assert status(answer) == 200
        assert (asyncio.get_running_loop().time() - began > 0.3) is keeps


async def test_every_response_has_one_date() -> None:
    """RFC 9110, 6.6.1: the time of now, also where the request was refused."""
    async with http_site(Application) as theirs, http_site() as ours:
        for site, data in ((theirs, request()), (ours, request()), (ours, b"no HTTP\r\n\r\n")):
            began = int(time.time())
            dates = re.findall(rb"\r\nDate: ([^\r]+)", await site.talk(data))
            (date,) = [parsedate_to_datetime(date.decode()).timestamp() for date in dates]
            assert began <= date <= time.time()


async def test_a_response_without_length_is_chunked() -> None:
    """For HTTP/1.1 only, and never for HEAD."""
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


async def test_100_continue_comes_before_the_body() -> None:
    """And only to those who wait for it (RFC 9110, 10.1.1)."""
    async with http_site() as site:
        client = await site.client()
        head = request("/", "Expect: 100-Continue", "Content-Length: 3", method="POST")
        await client.send(head)
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert status(await client.rest()) == 200
        await client.close()


async def test_who_is_refused_is_not_asked_for_his_body() -> None:
    """No 100 but the refusal, and the connection closes: the body may come or not."""
    async with http_site() as site:
        data = request("/stream?refuse=1", "Expect: 100-continue", "Content-Length: 3")
        answer = await site.talk(data.replace(b"Connection: close\r\n", b""))
        assert status(answer) == 403
        assert b"Connection: close" in answer


@pytest.mark.parametrize("case", ["short", "long", "header"])
async def test_a_response_that_would_break_the_framing_is_cut(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """More or less than its Content-Length, or a line break in a header."""
    async with http_site() as site:
        data = f"GET /raw?case={case} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + request("/second")
        answer = await site.talk(data)
        assert b"Set-Cookie" not in answer
        assert b"/second" not in answer
    assert "Content-Length" in caplog.text or "CR, LF" in caplog.text


async def test_a_handler_cannot_write_into_the_next_response() -> None:
    """What it writes after its end goes nowhere: behind a proxy the next may be someone else."""
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


# Who listens


async def test_a_client_that_leaves_is_noticed() -> None:
    """The handler's on_connection_close runs, once, also while the body is on its way."""
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


class Recorder(httputil.HTTPServerConnectionDelegate, httputil.HTTPMessageDelegate):
    """Notes what a delegate is told; answers nothing."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start_request(self, server_conn: object, request_conn: Any) -> Recorder:
        request_conn.set_close_callback(lambda: self.told.append("close callback"))
        return self

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> None:
        self.told.append("headers")

    def data_received(self, chunk: bytes) -> None:
        self.told.append(chunk.decode())

    def finish(self) -> None:
        self.told.append("finish")

    def on_connection_close(self) -> None:
        self.told.append("left")

    def on_close(self, server_conn: object) -> None:
        self.told.append("closed")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("ab", ["headers", "ab", "left", "closed"]),
        ("abc", ["headers", "abc", "finish", "close callback", "closed"]),
    ],
)
async def test_a_delegate_is_told_of_its_end_once(
    body: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By on_connection_close() during the request, by its callback after it, as in Tornado."""
    monkeypatch.setattr(
        http_writer, "HALF_CLOSED_TIMEOUT", 0.1
    )  # a client that has left is not told apart
    async with http_site() as site:
        site.server.app = recorder = Recorder()
        client = await site.client()
        await client.send(request("/", "Content-Length: 3", method="POST", body=body))
        await until(lambda: body in recorder.told)
        await client.close()
        await until(lambda: "closed" in recorder.told)
        assert recorder.told == told


async def test_a_delegate_that_fails_is_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback in the log, for the fault is ours."""

    class Failing(Recorder):
        def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> None:
            raise ZeroDivisionError

    async with http_site() as site:
        site.server.app = Failing()
        assert status(await site.talk(request())) == 500
    assert "ZeroDivisionError" in caplog.text


async def test_a_streaming_handler_gets_its_body_when_it_is_ready() -> None:
    """Reading pauses while prepare() and data_received() are awaited; nothing is lost."""
    async with http_site(max_body_size=10**7) as site:
        client = await site.client()
        body = "0123456789" * 200_000
        sending = asyncio.create_task(
            client.send(
                request("/stream?wait=1", f"Content-Length: {len(body)}", method="POST", body=body)
            )
        )
        await until(lambda: site.waiting)
        await asyncio.sleep(0.1)
        (connection,) = site.server.connections
        assert len(connection.requests.input.data) <= 65_536
        site.go_on.set()
        answer = await client.rest()
        await sending
        assert answer.endswith(b"\r\n\r\n" + body.encode())
        await client.close()


async def test_a_handler_that_waits_for_its_client_is_slowed_down() -> None:
    """flush() is done once the client has read enough; if it leaves, StreamClosedError."""
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


async def test_a_peer_is_known_by_address_family_and_scheme() -> None:
    """By the names of Tornado's context; a Unix socket has no address."""
    async with http_site() as site:
        client = await site.client()
        await until(lambda: site.server.connections)
        (connection,) = site.server.connections
        context = connection.context
        assert (context.remote_ip, context.protocol) == ("127.0.0.1", "http")
        assert context.address[0] == str(context) == "127.0.0.1"
        await client.close()


async def test_unix_sockets_are_served(tmp_path: Path) -> None:
    """As Tornado does, with 0.0.0.0 as the client's address."""
    import socket

    async with http_site() as site:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        await site.server.listen([listener])
        client = Client(*await asyncio.open_unix_connection(str(tmp_path / "s")))
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.response()
        assert {connection.context.remote_ip for connection in site.server.connections} == {
            "0.0.0.0"
        }
        await client.close()


# Upgrades


class Upgraded(asyncio.BufferedProtocol):
    """Echoes in capitals."""

    def __init__(self, connection: Handover) -> None:
        self.transport = connection.transport
        self.buffer = memoryview(bytearray(1000))
        self.transport.set_protocol(self)
        self.transport.write(connection.unsent + connection.received.upper())

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]).upper())


async def _upgrade(site: HttpSite, client: Client) -> list[weakref.ref[Any]]:
    """Upgrade, exchange a few bytes, and return what must not be alive any more."""
    import tornado.web

    remains: list[weakref.ref[Any]] = []
    done: list[bool] = []

    class Handler(tornado.web.RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0.02)  # what the client sends too early comes meanwhile
            exchange = self.request.connection
            assert isinstance(exchange, Exchange)
            self.clear_header("Content-Type")
            self.set_status(101)
            self.finish()
            remains.extend([weakref.ref(self), weakref.ref(self.request), weakref.ref(exchange)])
            Upgraded(exchange.hand_over())
            done.append(True)

    site.app.add_handlers(".*", [("/up", Handler)])
    await client.send(b"GET /up HTTP/1.1\r\nHost: x\r\n\r\nearly")
    assert status(await client.until(b"\r\n\r\n")) == 101
    await until(lambda: done)
    await client.send(b"late")
    assert await client.until(b"LATE") == b"EARLYLATE"
    return remains


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_transport_is_handed_over_with_what_it_has_read(loop: str, tls: bool) -> None:
    """On both loops, plain and TLS; nothing of the request stays alive, no garbage is made."""
    contexts = tls_contexts() if tls else (None, None)

    async def hand_over() -> None:
        async with http_site(ssl=contexts[0]) as site:
            client = Client(*await asyncio.open_connection("127.0.0.1", site.port, ssl=contexts[1]))
            gc.collect()
            gc.disable()
            try:
                remains = await _upgrade(site, client)
                assert not site.server.connections
                await asyncio.sleep(0.01)
                assert [ref() for ref in remains] == [None] * 3
                assert not any(isinstance(o, HttpConnection) for o in gc.get_objects())
            finally:
                gc.enable()
            await client.close()
            await asyncio.sleep(0.05)

    if loop == "uvloop":
        pytest.importorskip("uvloop").run(asyncio.wait_for(hand_over(), 10))
    else:
        asyncio.run(asyncio.wait_for(hand_over(), 10))


async def test_only_a_101_hands_over() -> None:
    """Everything else goes on being HTTP."""
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
