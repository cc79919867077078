"""Request bodies: framing, streaming to a handler, and `Expect: 100-continue`."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.transport.http.body import ChunkedBody, FixedBody
from tests.support.http_client import request, status
from tests.support.http_site import http_site
from tests.support.waiting import until

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("3\r\nabc\r\n0\r\n\r\n", id="one chunk"),
        pytest.param("1\r\na\r\n02\r\nbc\r\n000\r\n\r\n", id="two chunks, leading zeros"),
    ],
)
async def test_the_chunks_of_a_body_are_joined(body: str) -> None:
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
    """Extensions and trailers are refused too, because parsers read them differently."""
    async with http_site() as site:
        answer = await site.talk(request("/", CHUNKED, method="POST", body=body))
        assert status(answer) == 400


@given(chunks=st.lists(st.binary(min_size=1, max_size=40)), cuts=st.lists(st.integers(0, 400)))
@settings(max_examples=300, deadline=None)
def test_chunks_in_any_split_are_the_same_body(chunks: list[bytes], cuts: list[int]) -> None:
    """The bytes after the body are left over, complete."""
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


async def test_100_continue_comes_before_the_body() -> None:
    """Only clients that send `Expect: 100-continue` get it (RFC 9110, 10.1.1)."""
    async with http_site() as site:
        client = await site.client()
        head = request("/", "Expect: 100-Continue", "Content-Length: 3", method="POST")
        await client.send(head)
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        assert status(await client.rest()) == 200
        await client.close()


async def test_a_refused_request_gets_no_100_continue() -> None:
    """The client gets the refusal, and the connection closes."""
    async with http_site() as site:
        data = request("/stream?refuse=1", "Expect: 100-continue", "Content-Length: 3")
        answer = await site.talk(data.replace(b"Connection: close\r\n", b""))
        assert status(answer) == 403
        assert b"Connection: close" in answer


async def test_reading_pauses_until_a_streaming_handler_is_ready() -> None:
    """The server awaits prepare() and data_received(), and no data is lost."""
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
