"""The parsers give the same result wherever TCP cuts the stream."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.stores.redis.connection import Connection
from app.transport.engineio.frames import FrameError, FrameParser
from app.transport.http import input as http_input
from app.transport.http.body import ChunkedBody, FixedBody
from app.transport.http.head import Refused, find_head, parse_head
from tests.stores.test_redis_connection import plain
from tests.support.raw_websocket import HANDSHAKE, Closed, frame, read_response
from tests.support.socket_server import Server, served

LIMIT = 70_000
_EDGE = 20  # bytes at both ends of a long message that are cut one by one

FRAMES = {
    "short text": frame(0x81, '42["é"]'.encode(), b"abcd"),
    "empty text": frame(0x81, b"", b"abcd"),
    "text of 126": frame(0x81, b"x" * 126, b"abcd"),
    "text of 65536": frame(0x81, b"x" * 65536),
    "binary": frame(0x82, b"\xff\0\xfe", b"abcd"),
    "empty binary": frame(0x82, b""),
    "binary of 300": frame(0x82, b"\xff" * 300),
    "ping": frame(0x89, b"hi", b"abcd"),
    "pong": frame(0x8A, b""),
    "close": frame(0x88, b"\x03\xe8bye"),
    "fragments": frame(0x01, b"a") + frame(0x00, b"") + frame(0x89, b"!") + frame(0x80, b"b"),
    "unmasked": b"\x81\x02ab",
    "wrong length": b"\x81\xfe\x00\x01\0\0\0\0a",
    "not UTF-8": frame(0x81, b"\xff"),
}
HEADS = {
    "get": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "empty line first": b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "post": b"POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n1\r\n\r",
    "chunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0a\r\n\r\n\r\n\r\n0\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare carriage return": b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    "no method": b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "long": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300 + b"\r\n\r\n",
    "wrong chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
}
REPLIES = {
    "one": b":1\r\n",
    "number": b":-12\r\n",
    "text": b"+OK\r\n",
    "error": b"-ERR no\r\n",
    "null": b"_\r\n",
    "bulk": b"$4\r\n:1\r\n\r\n",
    "empty bulk": b"$0\r\n\r\n",
    "array": b"*3\r\n:1\r\n:1\r\n$2\r\n\r\n\r\n",
    "nested": b"*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n:1\r\n",
    "true": b"#t\r\n",
}


def frames_of(pieces: Iterable[bytes]) -> list[Any]:
    """Return the messages in these pieces; the last item may be an error's close code."""
    parser = FrameParser(LIMIT)
    messages: list[Any] = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while (message := parser.next()) is not None:
                messages.append((message, parser.size))
            assert not parser.ready
    except FrameError as error:
        messages.append((error.code, 0))
    return messages


def requests_of(pieces: Iterable[bytes]) -> list[Any]:
    """Return the requests in these pieces as `HttpConnection` reads them."""
    pending, searched = bytearray(), 0
    found: list[Any] = []
    body: FixedBody | ChunkedBody | None = None
    content = b""
    try:
        for piece in pieces:
            pending += piece
            while True:
                if body is None:
                    end = find_head(pending, 200, searched)
                    if not end:
                        searched = len(pending)
                        break
                    head = parse_head(bytes(pending[:end]))
                    pending, searched = pending[end:], 0
                    body = ChunkedBody() if head.length is None else FixedBody(head.length)
                    content = b""
                    found.append((head.start_line, list(head.headers.get_all())))
                if not body.done:
                    taken, rest = body.take(bytes(pending))
                    pending = bytearray(rest)
                    content += taken
                if not body.done:
                    break
                found.append(content)
                body = None
    except Refused as refused:
        found.append(refused.status)
    return found


def replies_of(pieces: Iterable[bytes]) -> list[Any]:
    """Return the replies in these pieces as their requesters get them."""

    async def told() -> list[Any]:
        wire = Connection(on_push=lambda push: None, on_lost=lambda connection: None)
        asked = [wire.call(b"") for _ in range(10)]
        for piece in pieces:
            wire.data_received(piece)
        wire.connection_lost(None)
        replies = await asyncio.gather(*asked, return_exceptions=True)
        return [plain(reply) for reply in replies if not isinstance(reply, ConnectionError)]

    return asyncio.run(told())


Read = Callable[[Iterable[bytes]], list[Any]]
STREAMS: dict[str, tuple[Read, dict[str, bytes]]] = {
    "frames": (frames_of, FRAMES),
    "requests": (requests_of, HEADS),
    "replies": (replies_of, REPLIES),
}


def cuts(first: bytes, second: bytes) -> Iterator[int]:
    """Yield the positions of single cuts in two messages, without the middle of a long one."""
    for at in range(1, len(first) + len(second)):
        within = at if at < len(first) else at - len(first)
        size = len(first) if at < len(first) else len(second)
        if min(within, size - within) <= _EDGE:
            yield at


@pytest.mark.parametrize(
    ("kind", "first"), [(kind, name) for kind, (_, all) in STREAMS.items() for name in all]
)
def test_every_cut_of_every_pair_of_messages_is_read_alike(kind: str, first: str) -> None:
    """Combine each kind of message with each other, and cut once at every byte."""
    read, messages = STREAMS[kind]
    for second in messages:
        data = messages[first] + messages[second]
        whole = read([data])
        for at in cuts(messages[first], messages[second]):
            assert read([data[:at], data[at:]]) == whole, (second, at)


@pytest.mark.parametrize("kind", STREAMS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_messages_cut_anywhere_are_read_alike(kind: str, data: st.DataObject) -> None:
    """Send several messages in several pieces."""
    read, messages = STREAMS[kind]
    short = sorted(name for name, message in messages.items() if len(message) < 1000)
    names = data.draw(st.lists(st.sampled_from(short), min_size=1, max_size=5))
    stream = b"".join(messages[name] for name in names)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    edges = [0, *sorted(places), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges) if end > start]
    assert read(pieces) == read([stream])


async def cut(server: Server, writer: asyncio.StreamWriter, data: bytes, at: int) -> None:
    """Send data in two pieces, the second once the server has read the first."""
    writer.write(data[:at])
    await writer.drain()
    await server.request("GET", "/none")
    writer.write(data[at:])
    await writer.drain()


EVENT = frame(0x81, b'421["ack","' + b"x" * 50 + b'"]')
BINARY = frame(0x81, b'451-1["ack",{"_placeholder":true,"num":0},"' + b"y" * 30 + b'"]')
ACK = '431["' + "x" * 50 + '"]'


@pytest.mark.parametrize("at", [*range(1, 12), len(EVENT) - 1])
@served()
async def test_a_text_in_two_segments_does_not_delay_the_next_frames(
    server: Server, at: int
) -> None:
    """A ping, a binary event and a close after it are answered at once."""
    websocket = await server.client()
    await cut(server, websocket.writer, EVENT, at)
    assert await websocket.receive() == ACK
    await websocket.send_raw(frame(0x89, b"hi"))
    assert await websocket.receive() == (0xA, b"hi")
    await cut(server, websocket.writer, BINARY, at)
    await websocket.send_raw(frame(0x82, b"attachment"))
    assert (await websocket.receive()).startswith("461-1[")
    assert await websocket.receive() == b"attachment"
    await cut(server, websocket.writer, EVENT, at)
    assert await websocket.receive() == ACK
    await websocket.send_raw(frame(0x88, b"\x03\xe8"))
    assert await websocket.receive() == Closed(1000)


@served()
async def test_a_payload_in_two_segments_is_complete(server: Server) -> None:
    """Send Engine.IO packets in a POST, of known length and chunked."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    packets = '421["ack","é"]\x1e422["ack"]'.encode()
    head = f"POST {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: a\r\n"
    known = f"{head}Content-Length: {len(packets)}\r\n\r\n".encode() + packets
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packets), packets)
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk
    for request in (known, chunked):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for at in (1, len(head), len(head) + 30, len(request) - 9, len(request) - 1):
            await cut(server, writer, request, at)
            assert (await read_response(reader)).body == b"ok"
            assert (await server.poll(sid)).body.decode() == '431["é"]\x1e432[]'
        writer.close()


@served()
async def test_a_head_in_two_segments_does_not_affect_the_next_request(server: Server) -> None:
    """The next request may be shorter than the part of this one that was searched."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    long = b"GET /none HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300 + b"\r\n\r\n"
    for at in range(len(long) - 5, len(long)):
        await cut(server, writer, long, at)
        assert (await read_response(reader)).status == 404
        writer.write(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_response(reader)).status == 404
    writer.close()


@served()
async def test_a_head_that_comes_byte_by_byte_is_searched_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searching again with each byte would read 2 GB for a head of 64 kB."""
    searched: list[int] = []

    def noting(data: bytes | bytearray, limit: int, start: int = 0) -> int:
        searched.append(len(data) - start)
        return find_head(data, limit, start)

    monkeypatch.setattr(http_input, "find_head", noting)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = b"GET /none HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 300 + b"\r\n\r\n"
    for at in range(len(head)):
        writer.write(head[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0)
    assert (await read_response(reader)).status == 404
    assert sum(searched) == len(head)
    writer.close()
