"""Request heads: which are read, and which are refused (RFC 9112)."""

from __future__ import annotations

import contextlib
import json

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.transport.http.head import Refused, find_head, parse_head
from tests.support.http_client import request, status
from tests.support.http_site import http_site

CHUNKED = "Transfer-Encoding: chunked"


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
    """Expect 400 and the end of the connection, without waiting for more data."""
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
@pytest.mark.attack("A24")
async def test_an_ambiguous_body_length_is_refused(fields: tuple[str, ...]) -> None:
    """Two servers could frame such a body differently (RFC 9112, 6.3 and 11.2)."""
    async with http_site() as site:
        answer = await site.talk(request("/", *fields, method="POST", body="3\r\nabc\r\n0\r\n\r\n"))
        assert status(answer) == 400
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_chunked_body_of_http_10_is_refused() -> None:
    """HTTP/1.0 has no chunked bodies; a proxy may frame one differently (RFC 9112, 6.1)."""
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
    """The version, expectation, number of fields, size of fields and length of the target."""
    async with http_site() as site:
        assert status(await site.talk(data)) == wanted


@pytest.mark.parametrize(
    ("target", "seen"),
    [("http://x/a?b", "/a?b"), ("HTTP://X", "/"), ("https://x/", "/"), ("//y/a", "//y/a")],
)
async def test_an_absolute_target_is_read_as_its_path(target: str, seen: str) -> None:
    """The host of the target must equal the Host header (RFC 9112, 3.2.2)."""
    async with http_site() as site:
        answer = await site.talk(request(target))
        assert json.loads(answer.partition(b"\r\n\r\n")[2])[1] == seen


async def test_one_empty_line_before_a_request_is_ignored() -> None:
    """Old browsers send one after the body of a POST (RFC 9112, 2.2)."""
    async with http_site() as site:
        assert status(await site.talk(b"\r\n" + request())) == 200


async def test_repeated_fields_are_kept_in_order() -> None:
    """The spaces around each value are removed."""
    async with http_site() as site:
        answer = await site.talk(request("/", "A: 1 ", "a:\t2", "A:3"))
        headers = json.loads(answer.partition(b"\r\n\r\n")[2])[3]
        assert [value for name, value in headers if name == "A"] == ["1", "2", "3"]


class _Llhttp:
    """The request that Node's parser reads."""

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
@pytest.mark.attack("A24")
def test_llhttp_reads_accepted_heads_in_the_same_way(start: str, lines: list[str]) -> None:
    """Node's parser accepts each head that this server accepts, and reads the same fields."""
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
