"""The end of an Engine.IO connection: missed heartbeats, close packets and close frames."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.raw_websocket import (
    Closed,
    frame,
)
from tests.support.socket_server import Server, served
from tests.support.waiting import until

UNKNOWN_SID = b'{"code":1,"message":"Session ID unknown"}'


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
    assert loop.time() - began > 0.29
    assert server.closed[0][1] == "ping timeout"


@served(ping_interval=0.2, ping_timeout=0.1)
async def test_a_poll_after_the_deadline_is_refused(server: Server) -> None:
    """The shared timer may check the deadline later."""
    sid = await server.handshake()
    await asyncio.sleep(0.45)
    assert (await server.poll(sid)).body == UNKNOWN_SID


@served(ping_interval=0.1, ping_timeout=0.1)
@pytest.mark.attack("A39")
async def test_an_unsolicited_pong_does_not_extend_the_deadline(server: Server) -> None:
    """In python-engineio such a pong keeps a client alive that never reads."""
    sid = await server.handshake()
    for _ in range(12):
        if (await server.post(sid, "3")).status != 200:
            break
        await asyncio.sleep(0.03)
    assert server.closed == [(sid, "ping timeout")]


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
