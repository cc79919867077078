"""Engine.IO's polling: payloads, polls and POSTs."""

from __future__ import annotations

import asyncio
import base64
from typing import cast

import pytest

from app.transport import SocketHandler
from app.transport.engineio.polling import Polling
from tests.support.raw_websocket import (
    HANDSHAKE,
    read_response,
)
from tests.support.socket_server import Server, served
from tests.support.waiting import until

UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'


POLLING = HANDSHAKE + "polling"


@served()
async def test_packets_travel_in_payloads_both_ways(server: Server) -> None:
    """Record separators divide the packets; binary data is base64."""
    sid = await server.handshake()
    body = '40\x1e42["message","a"]\x1e451-["message",{"_placeholder":true,"num":0}]\x1ebAQID'
    response = await server.post(sid, body)
    assert (response.status, response.body) == (200, b"ok")
    assert response.headers["content-type"] == "text/html"
    packets = (await server.poll(sid)).body.split(b"\x1e")
    assert packets[0].startswith(b'40{"sid":')
    assert packets[1:] == [
        b'42["auth",{}]',
        b'42["message-back","a"]',
        b'451-["message-back",{"_placeholder":true,"num":0}]',
        b"bAQID",
    ]


@served()
async def test_more_than_sixteen_packets_in_one_post_all_arrive(server: Server) -> None:
    """python-engineio accepts them with 200 and loses them."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, "\x1e".join(f'42{n}["ack",{n}]' for n in range(100)))
    packets: list[str] = []
    while len(packets) < 100:
        packets += (await server.poll(sid)).body.decode().split("\x1e")
    assert packets == [f"43{n}[{n}]" for n in range(100)]


async def payloads(server: Server, sid: str, count: int) -> list[list[bytes]]:
    """Return the packets of so many polls."""
    return [(await server.poll(sid)).body.split(b"\x1e") for _ in range(count)]


@served()
async def test_a_poll_brings_at_most_sixteen_packets(server: Server) -> None:
    """Attachments count; a message may span two polls, and the order stays."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    for number in range(15):
        await server.sio.emit("a", number)
    for _ in range(2):
        await server.sio.emit("b", [bytes((number,)) for number in range(10)])
    await server.sio.emit("c")
    first, second, third = await payloads(server, sid, 3)
    assert (len(first), len(second), len(third)) == (16, 16, 6)
    assert first[:15] == [b'42["a",%d]' % number for number in range(15)]
    assert first[15].startswith(b'4510-["b",')
    assert second[10].startswith(b'4510-["b",')
    binary = [b"b" + base64.b64encode(bytes((number,))) for number in range(10)]
    assert second[:10] == binary
    assert second[11:] + third == [*binary, b'42["c"]']


@served(max_message_size=1000)
async def test_a_poll_brings_about_as_many_bytes_as_a_message_may_have(server: Server) -> None:
    """It exceeds the limit by its last message at most."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    for size in (400, 400, 400, 3000, 1):
        await server.sio.emit("a", "x" * size)
    sizes = [[len(packet) for packet in packets] for packets in await payloads(server, sid, 3)]
    assert sizes == [[410, 410, 410], [3010], [11]]


@served()
async def test_a_split_message_is_whole_after_an_upgrade(server: Server) -> None:
    """The WebSocket sends the attachments that no poll has fetched, as binary frames."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    for number in range(9):
        await server.sio.emit("a", number)
    await server.sio.emit("b", [bytes((number,)) for number in range(10)])
    (first,) = await payloads(server, sid, 1)
    assert len(first) == 16
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await websocket.send("5")
    assert [await websocket.receive() for _ in range(4)] == [bytes((n,)) for n in range(6, 10)]


@pytest.mark.parametrize("polling", [False, True])
@served()
async def test_all_polls_of_a_backlog_come_before_the_close(server: Server, polling: bool) -> None:
    """This holds with and without an open poll."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    poll = asyncio.create_task(server.poll(sid)) if polling else None
    if poll is not None:
        await until(lambda: cast(Polling, server.sio.engine.connections[sid].transport).polled)
    for number in range(40):
        await server.sio.emit("a", number)
    server.sio.peers[sid].close()
    packets = (await poll).body.split(b"\x1e") if poll is not None else []
    for batch in await payloads(server, sid, 3 if polling else 4):
        packets += batch
    assert packets == [*(b'42["a",%d]' % number for number in range(40)), b"1"]
    assert (await server.poll(sid)).body == UNKNOWN_SID


@served()
async def test_a_poll_waits_and_packets_of_one_moment_come_together(server: Server) -> None:
    """The response takes all packets that are there when the poll returns."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.05)
    assert not poll.done()
    await server.sio.emit("a")
    await server.sio.emit("b")
    assert (await poll).body == b'42["a"]\x1e42["b"]'


@pytest.mark.parametrize(
    "body",
    [b"abc", b"", b"2", b"2probe", b"4\x1e", b"\xff\xfe", b"7", b"b***", b"d=4hello", "é".encode()],
)
@served()
async def test_a_malformed_payload_gets_400_and_closes(server: Server, body: bytes) -> None:
    """python-engineio sends 200 or no response."""
    sid = await server.handshake()
    assert (await server.post(sid, body)).status in (200 if body[:1] == b"4" else 400, 400)
    response = await server.poll(sid)
    assert response.status == 400 or response.body == b"1"
    assert len(server.closed) == 1


@pytest.mark.parametrize("body", ["0", "5", "6"])
@served()
async def test_packet_types_of_the_server_are_ignored(server: Server, body: str) -> None:
    """In python-engineio, 0 and 6 block the request."""
    sid = await server.handshake()
    assert (await server.post(sid, body)).body == b"ok"
    assert not server.closed


@served()
async def test_an_oversized_post_gets_an_empty_413(server: Server) -> None:
    """It may have a length or be chunked; of a far larger body nothing is read."""
    sid = await server.handshake()
    response = await server.post(sid, b"4" * 100_001)
    assert (response.status, response.body) == (413, b"")
    chunk = b"186a1\r\n" + b"4" * 100_001 + b"\r\n0\r\n\r\n"
    response = await server.request(
        "POST", f"{POLLING}&sid={sid}", chunk, Transfer_Encoding="chunked"
    )
    assert (response.status, response.body) == (413, b"")
    response = await server.post(sid, b"4", Content_Length="50000000")
    assert (response.status, response.body) == (413, b"")
    assert (await server.post(sid, "40")).status == 200


class Measuring(SocketHandler):
    """Notes how much of its body it kept."""

    kept: list[int] = []

    def on_finish(self) -> None:
        self.kept.append(len(self._body))
        super().on_finish()


@served(handler=Measuring)
async def test_an_oversized_post_is_read_and_dropped(server: Server) -> None:
    """The client stays connected and gets its response."""
    sid = await server.handshake()
    assert (await server.post(sid, b"4" * 5_000_000)).status == 413
    assert max(Measuring.kept) < 200_000


@served()
async def test_a_chunked_body_is_read(server: Server) -> None:
    """python-engineio ignores it and sends 200."""
    sid = await server.handshake()
    await server.request(
        "POST", f"{POLLING}&sid={sid}", b"2\r\n40\r\n0\r\n\r\n", Transfer_Encoding="chunked"
    )
    assert (await server.poll(sid)).body.startswith(b"40")


@served()
async def test_octets_are_refused(server: Server) -> None:
    """Revision 4 of the protocol has text payloads only."""
    sid = await server.handshake()
    response = await server.post(sid, "40", Content_Type="application/octet-stream")
    assert response.status == 400
    assert (await server.poll(sid)).body == UNKNOWN_SID


@served()
@pytest.mark.attack("A37")
async def test_two_polls_at_once_close_the_connection(server: Server) -> None:
    """The first poll gets a CLOSE, and the second is refused."""
    sid = await server.handshake()
    first = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.05)
    assert (await server.poll(sid)).status == 400
    assert (await first).body == b"1"
    assert (await server.poll(sid)).body == UNKNOWN_SID
    assert server.closed == [(sid, "transport error")]


@served()
async def test_two_posts_at_once_close_the_connection(server: Server) -> None:
    """The order of their packets is unknown."""
    sid = await server.handshake()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(
        f"POST {POLLING}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n4".encode()
    )
    await asyncio.sleep(0.05)
    assert (await server.post(sid, "40")).status == 400
    assert (await server.poll(sid)).body == UNKNOWN_SID
    writer.close()


class LateHandler(SocketHandler):
    """Waits in `authorize`, as for a session lookup."""

    async def authorize(self, eio_sid: str | None) -> None:
        await asyncio.sleep(0.01)


async def pipeline(server: Server, together: bool) -> None:
    """Send a poll, and then a POST on the same HTTP connection; both must be answered."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    target = f"{POLLING}&sid={sid} HTTP/1.1\r\nHost: localhost\r\n"
    get, body = f"GET {target}\r\n".encode(), '421["ack","x"]'
    post = f"POST {target}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    if together:
        writer.write(get + post)
    else:
        writer.write(get)
        await until(lambda: cast(Polling, server.sio.engine.connections[sid].transport).polled)
        writer.write(post)
    assert (await read_response(reader)).body == b"6"
    assert (await read_response(reader)).body == b"ok"
    writer.write(get)
    assert (await read_response(reader)).body == b'431["x"]'
    writer.close()


@pytest.mark.parametrize("together", [True, False])
@served()
async def test_a_pipelined_post_ends_the_poll_before_it(server: Server, together: bool) -> None:
    """Responses keep their order, so a waiting poll would block the POST."""
    await pipeline(server, together)


@pytest.mark.parametrize("together", [True, False])
@served(LateHandler)
async def test_a_pipelined_post_ends_a_poll_whose_authorization_was_slow(
    server: Server, together: bool
) -> None:
    """The POST may arrive before the poll begins to wait."""
    await pipeline(server, together)


@served()
async def test_an_aborted_poll_closes_the_connection(server: Server) -> None:
    """python-engineio loses the next message; here the client reconnects."""
    sid = await server.handshake()
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.05)
    poll.cancel()
    await asyncio.sleep(0.05)
    assert (await server.poll(sid)).body == UNKNOWN_SID
    assert server.closed == [(sid, "transport error")]
