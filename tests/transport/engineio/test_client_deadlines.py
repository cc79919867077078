"""A deadline does not expire while the server has not read the data that the client sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from app.transport.http.states import ConnectionState
from tests.support.raw_websocket import HANDSHAKE, Closed, frame, plain_client
from tests.support.site import serve as serve_site
from tests.support.socket_server import LOOPS, Echo, Server, run, served
from tests.support.waiting import until

BLOCKED = 0.6  # seconds


class Slow(Echo):
    """Has a handler that blocks the loop, and one that waits."""

    gate: asyncio.Event

    async def on_block(self, sid: str) -> None:
        time.sleep(BLOCKED)

    async def on_work(self, sid: str, text: str) -> None:
        time.sleep(0.03)

    async def on_wait(self, sid: str) -> None:
        await self.gate.wait()


def block() -> None:
    """Block the loop for longer than the deadlines in these tests."""
    time.sleep(BLOCKED)


def websocket_frames(data: bytes) -> int:
    """Return the number of pings in what the server sent."""
    return data.count(b"\x81\x012")


# Reading is paused


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(both_loops=True, events_per_second=100, ping_interval=0.2, ping_timeout=0.2)
async def test_a_throttled_client_that_answers_its_pings_stays(
    server: Server, transport: str
) -> None:
    """Its pong waits behind its own events; it gets all acks and more pings."""
    events = [f'42{n}["ack"]' for n in range(350)]
    acked = pings = 0
    if transport == "websocket":
        websocket = await server.client()
        await websocket.send(*events)
        while acked < 350:
            packet = await asyncio.wait_for(websocket.receive(), 5)
            assert not isinstance(packet, Closed), server.closed
            acked += packet.startswith("43")
            if packet == "2":
                pings += 1
                await websocket.send("3")
    else:
        sid = await server.handshake()
        await server.post(sid, "40")
        posts = [asyncio.ensure_future(server.post(sid, "\x1e".join(events)))]
        while acked < 350:
            response = await server.poll(sid)
            assert response.status == 200, server.closed
            for packet in response.body.decode().split("\x1e"):
                acked += packet.startswith("43")
                if packet == "2":
                    pings += 1
                    await posts[-1]
                    posts.append(asyncio.ensure_future(server.post(sid, "3")))
        await asyncio.gather(*posts)
    assert pings > 2
    await asyncio.sleep(0.1)
    assert not server.closed


@served(namespaces=(Slow,), both_loops=True, ping_interval=0.1, ping_timeout=0.1)
async def test_a_client_stays_while_its_events_pause_reading(server: Server) -> None:
    """Reading resumes when the events end, and the pong comes next."""
    Slow.gate = asyncio.Event()
    websocket = await server.client()
    await websocket.send(*['42["wait"]'] * 64, *[f'42{n}["ack"]' for n in range(20)])
    pings = 0
    while pings < 4:
        assert await asyncio.wait_for(websocket.receive(), 5) == "2"
        pings += 1
        await websocket.send("3")
    Slow.gate.set()
    acked = 0
    while acked < 20:
        packet = await asyncio.wait_for(websocket.receive(), 5)
        assert not isinstance(packet, Closed), server.closed
        acked += packet.startswith("43")
        if packet == "2":
            await websocket.send("3")


@served(namespaces=(Slow,), ping_interval=0.1, ping_timeout=0.3)
async def test_a_client_that_left_is_noticed_once_reading_resumes(server: Server) -> None:
    """It has the rest of its ping timeout."""
    Slow.gate = asyncio.Event()
    websocket = await server.client()
    await websocket.send(*['42["wait"]'] * 64)
    while await websocket.receive() != "2":
        pass
    await asyncio.sleep(0.5)
    assert not server.closed
    began = time.monotonic()
    Slow.gate.set()
    await until(lambda: server.closed)
    assert server.closed == [(websocket.sid, "ping timeout")]
    assert time.monotonic() - began > 0.1


@served(both_loops=True, events_per_second=100, ping_interval=0.2, ping_timeout=0.2)
async def test_a_flood_of_pings_does_not_extend_the_ping_deadline(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's kernel accepts the pongs, and the client reads none of them."""
    plain = plain_client(server.port)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x89, b"ping") * 5_000)
    await until(lambda: server.closed)
    assert server.closed == [(server.opened[0], "ping timeout")]
    lines = [record.message for record in caplog.records if "answers no ping" in record.message]
    assert len(lines) == 1
    plain.close()


# The loop was blocked


@pytest.mark.parametrize("unread", [0, 500_000], ids=["pong", "pong behind 500 kB"])
@served(both_loops=True, ping_interval=0.2, ping_timeout=0.3)
async def test_a_pong_that_came_while_the_loop_was_blocked_counts(
    server: Server, unread: int
) -> None:
    plain = plain_client(server.port)
    await until(lambda: server.sio.manager.clients)
    plain.setblocking(False)
    received = b""

    def receive() -> bool:
        nonlocal received
        with contextlib.suppress(BlockingIOError):
            received += plain.recv(65_536)
        return websocket_frames(received) == 1

    await until(receive)
    plain.setblocking(True)
    plain.settimeout(5)
    events = frame(0x81, b'42["ack","' + b"x" * 50_000 + b'"]') * (unread // 50_000)
    sent = plain.send(events) if events else 0
    assert sent == len(events), "the kernel has to take it, since nobody reads"
    plain.sendall(frame(0x81, b"3"))
    block()
    await asyncio.sleep(0.2)
    assert not server.closed
    plain.close()


@served(namespaces=(Slow,), both_loops=True, ping_interval=0.2, ping_timeout=0.2)
async def test_a_pong_behind_events_that_are_slow_to_read_counts(server: Server) -> None:
    """Each block of the loop is short, but together they delay the pong past its deadline."""
    websocket = await server.client()
    while await websocket.receive() != "2":
        pass
    events = frame(0x81, b'42["work","' + b"x" * 60_000 + b'"]') * 30
    websocket.writer.write(events + frame(0x81, b"3") + frame(0x81, b'421["ack"]'))
    while (packet := await asyncio.wait_for(websocket.receive(), 10)) != "431[]":
        assert not isinstance(packet, Closed), server.closed
        if packet == "2":
            await websocket.send("3")


@served(both_loops=True, ping_interval=0.2, ping_timeout=0.3)
async def test_a_pong_by_post_that_came_while_the_loop_was_blocked_counts(server: Server) -> None:
    """Its TCP connection may not be accepted yet."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    while b"2" not in (await server.poll(sid)).body.split(b"\x1e"):
        pass
    plain = socket.create_connection(("127.0.0.1", server.port))
    plain.sendall(
        f"POST {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 1\r\n\r\n3".encode()
    )
    block()
    plain.setblocking(False)
    assert (await asyncio.get_running_loop().sock_recv(plain, 100)).startswith(b"HTTP/1.1 200")
    assert not server.closed
    plain.close()


@served(both_loops=True, join_timeout=0.3)
async def test_a_connect_that_came_while_the_loop_was_blocked_counts(server: Server) -> None:
    websocket = await server.websocket()
    await websocket.receive()
    websocket.writer.write(frame(0x81, b"40"))
    block()
    assert (await asyncio.wait_for(websocket.receive(), 5)).startswith("40")
    await asyncio.sleep(0.1)
    assert not server.closed


class Thoughtful(Echo):
    """Its connect handler waits."""

    async def on_connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        await asyncio.sleep(0.4)


@served(namespaces=(Thoughtful,), both_loops=True, join_timeout=0.2)
async def test_a_connect_handler_may_take_longer_than_the_join_timeout(server: Server) -> None:
    """The client has sent its CONNECT in time."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send("40")
    assert (await asyncio.wait_for(websocket.receive(), 5)).startswith("40")


@served(both_loops=True)
async def test_an_upgrade_that_came_while_the_loop_was_blocked_counts(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.transport.engineio.probe.UPGRADE_TIMEOUT", 0.3)
    sid = await server.handshake()
    await server.post(sid, "40")
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    websocket.writer.write(frame(0x81, b"2probe") + frame(0x81, b"5"))
    block()
    await until(lambda: server.upgraded == [sid])
    assert not server.closed


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("part", ["head", "body"])
def test_a_request_that_came_while_the_loop_was_blocked_is_answered(
    loop: str, part: str, tmp_path: Path
) -> None:
    """Its deadline passed meanwhile; a megabyte takes many reads."""

    async def body() -> None:
        async with serve_site(tmp_path) as site:
            http = site.app.http_server
            assert http is not None
            http.header_timeout = http.body_timeout = 0.3
            http.connections._interval = 0.1
            http.connections._check_later()
            plain = socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])))
            content = b"x" * (900_000 if part == "body" else 0)
            head = (
                f"POST /nowhere HTTP/1.1\r\nHost: {site.url[7:]}\r\n"
                f"Content-Length: {len(content)}\r\nSec-Fetch-Site: same-origin\r\n\r\n"
            ).encode()
            now, later = (head[:30], head[30:]) if part == "head" else (head, b"")
            plain.sendall(now)
            begun = (ConnectionState.HEAD, ConnectionState.REQUEST)
            await until(lambda: any(one.requests.state in begun for one in http.connections))
            plain.settimeout(0)
            rest = later + content
            while rest:  # the kernel's buffers are large enough
                try:
                    rest = rest[plain.send(rest) :]
                except BlockingIOError:
                    await asyncio.sleep(0)
            block()
            answer = await asyncio.get_running_loop().sock_recv(plain, 100)
            assert answer.startswith(b"HTTP/1.1 404"), answer
            plain.close()

    run(body(), loop=loop)


@served(both_loops=True, join_timeout=0.2)
async def test_a_silent_client_is_closed_although_the_loop_is_blocked_repeatedly(
    server: Server,
) -> None:
    """The server extends the deadline after a blocked loop only once."""
    await (await server.websocket()).receive()
    for _ in range(8):
        time.sleep(0.15)
        await asyncio.sleep(0.01)
    assert server.closed
