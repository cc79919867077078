"""Engine.IO (protocol revision 4) from raw requests and raw frames."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, cast

import pytest
import tornado.web
from tornado.web import HTTPError

from app.transport import SocketHandler, UnknownSid
from app.transport.engineio.polling import Polling
from tests.support.raw_websocket import (
    HANDSHAKE,
    KEY,
    Closed,
    RefusedError,
    WebSocket,
    frame,
    read_response,
)
from tests.support.socket_server import Server, served
from tests.support.waiting import until

UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'
POLLING = HANDSHAKE + "polling"


# Handshake


@served(ping_interval=0.3, ping_timeout=0.25)
async def test_the_handshake_has_the_id_and_the_settings(server: Server) -> None:
    """Times are in milliseconds; the id begins with the number of the process."""
    response = await server.request("GET", POLLING)
    assert response.status == 200
    assert response.headers["content-type"] == "text/plain; charset=UTF-8"
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    opened = json.loads(response.body[1:])
    assert response.body[:1] == b"0"
    assert opened.pop("sid").startswith("7-")
    assert opened == {
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 250,
        "maxPayload": 100_000,
    }
    websocket = await server.websocket()
    opened = json.loads((await websocket.receive())[1:])
    assert opened["upgrades"] == []
    assert server.opened[1] == opened["sid"]


@pytest.mark.asvs("3.5.6")
@pytest.mark.parametrize(
    ("method", "query", "body"),
    [
        ("GET", "EIO=4", b'{"code":0,"message":"Transport unknown"}'),
        ("GET", "EIO=4&transport=abc", b'{"code":0,"message":"Transport unknown"}'),
        ("GET", "EIO=4&transport=webtransport", b'{"code":0,"message":"Transport unknown"}'),
        ("GET", "transport=polling", b'{"code":5,"message":"Unsupported protocol version"}'),
        ("GET", "EIO=3&transport=polling", b'{"code":5,"message":"Unsupported protocol version"}'),
        (
            "GET",
            "EIO=abc&transport=polling",
            b'{"code":5,"message":"Unsupported protocol version"}',
        ),
        ("POST", "EIO=4&transport=polling", b'{"code":2,"message":"Bad handshake method"}'),
        ("PUT", "EIO=4&transport=polling", b'{"code":2,"message":"Bad handshake method"}'),
        ("OPTIONS", "EIO=4&transport=polling", b'{"code":2,"message":"Bad handshake method"}'),
        ("GET", "EIO=4&transport=polling&sid=abc", UNKNOWN_SID),
        ("POST", "EIO=4&transport=polling&sid=abc", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling&sid=a%0Aforged%20line", UNKNOWN_SID),
        ("GET", "EIO=4&transport=polling&j=0", b'{"code":3,"message":"Bad request"}'),
        ("GET", "EIO=4&transport=websocket", b'{"code":3,"message":"Bad request"}'),
    ],
)
@served()
async def test_an_invalid_request_gets_the_error_that_node_sends(
    server: Server, method: str, query: str, body: bytes
) -> None:
    """Expect 400 and a JSON body with Engine.IO's code."""
    response = await server.request(method, "/socket.io/?" + query)
    assert (response.status, response.body) == (400, body)
    assert response.headers["content-type"] == "application/json"
    assert not server.opened


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("EIO=4", {}, 0),
        ("EIO=4&transport=abc", {}, 0),
        ("EIO=4&transport=polling", {}, 3),
        ("EIO=3&transport=websocket", {}, 5),
        ("transport=websocket", {}, 5),
        ("EIO=4&transport=websocket&sid=abc", {}, 1),
        ("EIO=4&transport=websocket", {"Sec-WebSocket-Version": "12"}, 3),
        ("EIO=4&transport=websocket", {"Sec-WebSocket-Version": ""}, 3),
        ("EIO=4&transport=websocket", {"Sec-WebSocket-Key": "c2hvcnQ="}, 3),
        ("EIO=4&transport=websocket", {"Sec-WebSocket-Key": ""}, 3),
        ("EIO=4&transport=websocket", {"Sec-WebSocket-Key": "&&&&"}, 3),
        ("EIO=4&transport=websocket", {"Connection": "keep-alive"}, 3),
    ],
)
@served()
async def test_an_invalid_websocket_request_is_refused_before_the_101(
    server: Server, query: str, headers: dict[str, str], code: int
) -> None:
    """The server closes the socket, which then holds no descriptor."""
    with pytest.raises(RefusedError) as caught:
        await server.websocket("/socket.io/?" + query, **headers)
    assert caught.value.response.status == 400
    assert caught.value.response.json["code"] == code
    assert caught.value.response.headers["connection"] == "close"


@served()
async def test_the_101_has_the_accept_key_of_the_rfc(server: Server) -> None:
    """The example of RFC 6455, 1.3; the server accepts no extensions."""
    assert KEY == "dGhlIHNhbXBsZSBub25jZQ=="
    websocket = await server.websocket(Sec_WebSocket_Extensions="permessage-deflate")
    assert websocket.response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "sec-websocket-extensions" not in websocket.response.headers


@served(hosted_by=tornado.web.Application)
async def test_any_tornado_application_hosts_the_endpoint(server: Server) -> None:
    """Tornado calls the handler for both transports, a POST and a refusal."""
    assert (await server.client()).response.status == 101
    sid = await server.handshake()
    assert (await server.post(sid, b"40")).status == 200
    assert (await server.poll(sid)).body.startswith(b"40")
    assert (await server.post("0-nobody", b"40")).body == UNKNOWN_SID


@served()
async def test_frames_sent_with_the_upgrade_request_are_read(server: Server) -> None:
    """A client may send before the 101; Tornado's buffer has those bytes."""
    websocket = await server.websocket(early=frame(0x81, b"40") + frame(0x81, b'421["ack",'))
    await websocket.send_raw(b"")
    assert (await websocket.receive())[0] == "0"
    assert (await websocket.receive()).startswith("40")


class Hooked(SocketHandler):
    """A subclass as an application writes it."""

    def check_request(self) -> None:
        if self.request.headers.get("Origin") == "https://evil.example":
            raise HTTPError(403)

    async def authorize(self, eio_sid: str | None) -> None:
        await asyncio.sleep(0)
        if self.request.headers.get("X-Limit"):
            raise HTTPError(429)
        if self.request.headers.get("X-Other"):
            raise UnknownSid
        if eio_sid is None:
            self.set_cookie("session", "abc")

    def environ(self) -> dict[str, Any]:
        return {**super().environ(), "app.extra": 1}


@served(handler=Hooked)
async def test_the_hooks_decide_before_the_101(server: Server) -> None:
    """A hook's 403 or 429 is an HTTP response, on both transports."""
    cases: tuple[tuple[dict[str, Any], int, dict[str, Any]], ...] = (
        ({"Origin": "https://evil.example"}, 403, {"code": 4, "message": "Forbidden"}),
        ({"X_Limit": "1"}, 429, {"code": 3, "message": "Too Many Requests"}),
    )
    for headers, status, body in cases:
        response = await server.request("GET", POLLING, **headers)
        assert (response.status, response.json) == (status, body)
        with pytest.raises(RefusedError) as caught:
            await server.websocket(**headers)
        assert (caught.value.response.status, caught.value.response.json) == (status, body)
    assert not server.opened


@served(handler=Hooked)
async def test_a_cookie_of_a_hook_is_on_the_200_and_on_the_101(server: Server) -> None:
    """The hook sets it before the response is flushed."""
    response = await server.request("GET", POLLING)
    assert response.headers["set-cookie"].startswith("session=abc")
    websocket = await server.websocket()
    assert websocket.response.headers["set-cookie"].startswith("session=abc")


@served(handler=Hooked)
async def test_the_sid_of_another_client_looks_unknown(server: Server) -> None:
    """GET, POST and upgrade give the same error, so a client cannot find valid ids."""
    sid = await server.handshake()
    for method in ("GET", "POST"):
        response = await server.request(method, f"{POLLING}&sid={sid}", X_Other="1")
        assert (response.status, response.body) == (400, UNKNOWN_SID)
    with pytest.raises(RefusedError) as caught:
        await server.websocket(f"{HANDSHAKE}websocket&sid={sid}", X_Other="1")
    assert caught.value.response.body == UNKNOWN_SID
    assert (await server.post(sid, "40")).status == 200


@served(handler=Hooked)
async def test_environ_is_small_and_has_the_cookies_of_all_headers(server: Server) -> None:
    """It has strings only, so the connection keeps no part of the request alive."""
    headers = {"Cookie": "a=1\r\nCookie: b=2", "Origin": "http://x", "X-Real-Ip": "9.9.9.9"}
    await (await server.websocket(**headers)).receive()
    environ = server.sio.environ[server.opened[0]]
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["REMOTE_ADDR"] == "127.0.0.1"
    assert environ["wsgi.url_scheme"] == "http"
    assert environ["QUERY_STRING"] == "EIO=4&transport=websocket"
    assert environ["app.extra"] == 1
    assert "HTTP_SEC_WEBSOCKET_KEY" not in environ
    assert all(isinstance(value, (str, int)) for value in environ.values())


# Polling


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


# Heartbeat


@served(ping_interval=0.1, ping_timeout=0.1)
async def test_a_client_that_answers_pings_stays_connected(server: Server) -> None:
    """This holds on both transports."""
    sid = await server.handshake()
    websocket = await server.websocket()
    await websocket.receive()
    for _ in range(3):
        assert (await server.poll(sid)).body == b"2"
        assert await websocket.receive() == "2"
        await server.post(sid, "3")
        await websocket.send("3")
    assert not server.closed


@served(ping_interval=0.2, ping_timeout=0.1)
async def test_a_missed_pong_closes_at_interval_plus_timeout(server: Server) -> None:
    """The close does not wait for another task."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    websocket = await server.websocket()
    assert await websocket.closed() == Closed(1000)
    assert 0.29 < loop.time() - began < 2
    assert server.closed[0][1] == "ping timeout"


@served(ping_interval=0.2, ping_timeout=0.1)
async def test_a_poll_after_the_deadline_is_refused(server: Server) -> None:
    """The shared timer may check the deadline later."""
    sid = await server.handshake()
    await asyncio.sleep(0.45)
    assert (await server.poll(sid)).body == UNKNOWN_SID


@served(ping_interval=0.1, ping_timeout=0.1)
async def test_an_unsolicited_pong_does_not_extend_the_deadline(server: Server) -> None:
    """In python-engineio such a pong keeps a client alive that never reads."""
    sid = await server.handshake()
    for _ in range(12):
        if (await server.post(sid, "3")).status != 200:
            break
        await asyncio.sleep(0.03)
    assert server.closed == [(sid, "ping timeout")]


# Close


@served()
async def test_a_client_that_closes_gets_its_poll_answered_with_a_noop(server: Server) -> None:
    """The poll may arrive just after the POST that closes, on another connection."""
    sid = await server.handshake()
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.05)
    assert (await server.post(sid, "1")).body == b"ok"
    assert (await poll).body == b"6"
    late = await server.handshake()
    await server.post(late, "1")
    assert (await server.poll(late)).body == b"6"
    assert (await server.poll(late)).body == UNKNOWN_SID
    assert server.closed == [(sid, "client disconnect"), (late, "client disconnect")]


@served()
async def test_a_client_between_two_polls_still_gets_the_close(server: Server) -> None:
    """The next poll may come late; it brings the earlier packets first."""
    sid = await server.handshake()
    await server.post(sid, "40")
    server.sio.peers[sid].close()
    await asyncio.sleep(0.3)
    assert (await server.poll(sid)).body.startswith(b"40")
    await asyncio.sleep(0.2)
    assert (await server.poll(sid)).body == b"1"
    assert (await server.poll(sid)).body == UNKNOWN_SID
    assert not server.sio.environ


@served()
async def test_a_post_to_a_closed_connection_gets_unknown_sid(server: Server) -> None:
    """python-engineio sends 500."""
    sid = await server.handshake()
    await server.post(sid, "1")
    assert (await server.post(sid, "40")).body == UNKNOWN_SID


@served(events_per_second=10)
async def test_a_close_in_a_backlog_refuses_the_posts_and_polls_after_it(server: Server) -> None:
    """It refuses those that already wait, and later ones."""
    sid = await server.handshake()
    events = [f'42{n}["ack"]' for n in range(30)]
    assert (await server.post(sid, "\x1e".join(["40", *events, "1"]))).body == b"ok"
    waiting = await server.post(sid, '42["ack"]')
    assert (waiting.status, waiting.body) == (400, UNKNOWN_SID)
    assert server.closed == [(sid, "client disconnect")]
    assert (await server.post(sid, '42["ack"]')).body == UNKNOWN_SID
    # a poll can fetch the last packets for a moment
    await until(lambda: sid not in server.sio.engine.last_polls)
    assert (await server.poll(sid)).body == UNKNOWN_SID


@pytest.mark.parametrize("packet", ["1", "abc", "", "2", "²", "7"])
@served()
async def test_a_close_packet_or_an_invalid_packet_closes_a_websocket(
    server: Server, packet: str, caplog: Any
) -> None:
    """In python-engineio the WebSocket stays until its ping timeout."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send(packet)
    assert isinstance(await asyncio.wait_for(websocket.closed(), 1), Closed)
    assert len(server.closed) == 1
    assert not server.sio.engine.connections
    lines = [record for record in caplog.records if record.name == "app.transport"]
    assert len(lines) == (packet != "1")


@served()
async def test_the_servers_close_frame_is_its_last_data(server: Server, monkeypatch: Any) -> None:
    """It sends its FIN without waiting for the client's close frame."""
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 60.0)
    websocket = await server.client()
    server.sio.peers[websocket.sid].close()
    assert await websocket.receive() == Closed(1000)
    assert await asyncio.wait_for(websocket.reader.read(), 5) == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),
        (frame(0xC1, b"4x"), 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b"4" * 100_001), 1009),
        (frame(0x88, b"\x03\xe8"), 1000),
        (frame(0x88, b"\x0f\xa0bye"), 4000),
        (frame(0x88, b"\x03\xed"), 1002),
        (frame(0x88, b""), None),
    ],
)
@served()
async def test_a_frame_error_closes_with_its_code(
    server: Server, data: bytes, code: int | None
) -> None:
    """A client's close frame is answered with its own code."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send_raw(data)
    assert await websocket.closed() == Closed(code)
    assert await websocket.reader.read() == b""
    assert not server.sio.engine.connections


@served()
async def test_a_websocket_ping_is_answered(server: Server) -> None:
    """The pong has the same payload (RFC 6455, 5.5.2)."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send_raw(frame(0x89, b"are you there"))
    assert await websocket.receive() == (0xA, b"are you there")


@served()
async def test_a_websocket_that_ends_without_a_close_frame_is_noticed(server: Server) -> None:
    """The connection closes."""
    websocket = await server.websocket()
    await websocket.receive()
    websocket.writer.transport.abort()
    await asyncio.sleep(0.05)
    assert len(server.closed) == 1
    assert not server.sio.environ


# Upgrade


async def upgrade(server: Server, sid: str) -> WebSocket:
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    return websocket


@served()
async def test_a_connection_moves_from_polling_to_websocket(server: Server) -> None:
    """The WebSocket sends packets that no poll has fetched, but no NOOP."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    websocket = await upgrade(server, sid)
    assert server.sio.transport(sid) == "polling"
    await server.sio.emit("between")
    await websocket.send("5", '42["message","x"]')
    assert await websocket.receive() == '42["between"]'
    assert await websocket.receive() == '42["message-back","x"]'
    assert server.upgraded == [sid]
    assert server.sio.transport(sid) == "websocket"
    assert await websocket.quiet()


@served()
async def test_a_probe_ends_an_open_poll(server: Server) -> None:
    """The client waits for the poll's response before it upgrades."""
    sid = await server.handshake()
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.02)
    await upgrade(server, sid)
    assert (await asyncio.wait_for(poll, 0.05)).body == b"6"


@served()
async def test_a_poll_during_the_upgrade_waits_for_its_outcome(server: Server) -> None:
    """It waits for 100 ms and gets a NOOP, or 400 if the connection has moved."""
    loop = asyncio.get_running_loop()
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    began = loop.time()
    assert (await server.poll(sid)).body == b"6"
    assert 0.08 < loop.time() - began < 2
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.02)
    await websocket.send("5")
    assert (await poll).status == 400
    assert (await server.poll(sid)).json == {"code": 3, "message": "Bad request"}
    assert (await server.post(sid, "40")).json == {"code": 3, "message": "Bad request"}


@served()
async def test_a_second_upgrade_is_closed(server: Server) -> None:
    """It gets its 101 and a close frame; the first upgrade goes on."""
    sid = await server.handshake()
    first = await upgrade(server, sid)
    second = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    assert await second.closed() == Closed(None)
    await first.send("5")
    third = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    assert await third.closed() == Closed(None)
    await first.send("40")
    assert (await first.receive()).startswith("40")
    assert not server.closed


@pytest.mark.parametrize("packets", [["abc"], ["5"], ["2probe", "4hello"], [b"x"], ["2"]])
@served()
async def test_a_failed_probe_closes_only_its_websocket(server: Server, packets: list[Any]) -> None:
    """The connection stays on polling."""
    sid = await server.handshake()
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send(*packets)
    assert isinstance(await websocket.closed(), Closed)
    assert (await server.post(sid, "40")).status == 200
    assert (await server.poll(sid)).body.startswith(b"40")
    again = await upgrade(server, sid)
    await again.send("5")


@served()
async def test_an_upgrade_has_a_time_limit(server: Server, monkeypatch: Any) -> None:
    """In python-engineio a stalled upgrade answers polls for ever."""
    monkeypatch.setattr("app.transport.engineio.probe.UPGRADE_TIMEOUT", 0.1)
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    assert await websocket.closed() == Closed(None)
    await server.post(sid, "40")
    assert (await server.poll(sid)).body.startswith(b"40")


@served()
async def test_closing_a_connection_closes_its_probe(server: Server) -> None:
    """No WebSocket stays open."""
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    await server.post(sid, "1")
    assert isinstance(await websocket.closed(), Closed)


# TLS


@served(tls=True)
async def test_websockets_work_over_tornados_tls(server: Server) -> None:
    """Send small and large messages in both directions, and close."""
    websocket = await server.client()
    await websocket.send('42["message","a"]')
    assert await websocket.receive() == '42["message-back","a"]'
    big = "x" * 90_000
    await websocket.send(f'421["ack","{big}"]', *[f'42{n}["ack",{n}]' for n in range(2, 50)])
    assert await websocket.receive() == f'431["{big}"]'
    for n in range(2, 50):
        assert await websocket.receive() == f"43{n}[{n}]"
    server.sio.peers[websocket.sid].close(disconnect=True)
    assert await websocket.receive() == "41"
    assert await websocket.receive() == Closed(1000)
    other = await server.client()
    other.writer.transport.abort()
    await asyncio.sleep(0.05)
    assert len(server.closed) == 2


def test_the_test_client_sends_valid_keys() -> None:
    """A key has 16 bytes (RFC 6455, 4.1)."""
    assert len(base64.b64decode(KEY)) == 16


@served()
async def test_eio_send_sends_one_packet(server: Server) -> None:
    """It adds no packet in front of the data, on either transport."""
    websocket = await server.client()
    await server.sio.engine.send(websocket.sid, b"\x00\xff")
    await server.sio.engine.send(websocket.sid, "text")
    assert await websocket.receive() == b"\x00\xff"
    assert await websocket.receive() == "4text"
    sid = await server.handshake()
    await server.sio.engine.send(sid, b"\x00\xff")
    await server.sio.engine.send(sid, "text")
    assert (await server.poll(sid)).body == b"bAP8=\x1e4text"
