"""Engine.IO's handshake (protocol revision 4), from raw requests and raw frames."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
import tornado.web
from tornado.web import HTTPError

from app.transport import SocketHandler, UnknownSid
from tests.support.raw_websocket import (
    HANDSHAKE,
    KEY,
    Closed,
    RefusedError,
    frame,
)
from tests.support.socket_server import Server, served

UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'


POLLING = HANDSHAKE + "polling"


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
@pytest.mark.attack("A31")
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
@pytest.mark.attack("A31")
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
@pytest.mark.attack("A30")
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
