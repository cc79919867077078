"""A WebSocket probes and takes over from polling."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.raw_websocket import (
    HANDSHAKE,
    Closed,
    WebSocket,
)
from tests.support.socket_server import Server, served
from tests.support.waiting import until


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
async def test_a_probe_ends_an_open_poll(server: Server, monkeypatch: Any) -> None:
    """The client waits for the poll's response before it upgrades."""
    monkeypatch.setattr("app.transport.engineio.polling.UPGRADE_POLL", 60)
    sid = await server.handshake()
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.02)
    await upgrade(server, sid)
    assert (await asyncio.wait_for(poll, 10)).body == b"6"


@served()
async def test_a_poll_during_the_upgrade_waits_for_its_outcome(server: Server) -> None:
    """It waits for 100 ms and gets a NOOP, or 400 if the connection has moved."""
    loop = asyncio.get_running_loop()
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    began = loop.time()
    assert (await server.poll(sid)).body == b"6"
    assert loop.time() - began > 0.08
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
@pytest.mark.attack("A37")
async def test_an_upgrade_has_a_time_limit(server: Server, monkeypatch: Any) -> None:
    """In python-engineio a stalled upgrade answers polls for ever."""
    monkeypatch.setattr("app.transport.engineio.probe.UPGRADE_TIMEOUT", 0.1)
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    assert await websocket.closed() == Closed(None)
    await server.post(sid, "40")
    assert (await server.poll(sid)).body.startswith(b"40")


@served()
async def test_a_connection_that_closes_during_its_upgrade_loses_no_packet(server: Server) -> None:
    """The client, which polls no more, gets them once it has upgraded, and then the close."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    websocket = await upgrade(server, sid)
    for number in range(20):  # more than one payload of polling
        await server.sio.emit("between", number)
    await server.sio.emit("bytes", b"\0\xff")
    await server.sio.engine.disconnect(sid)
    assert await websocket.quiet()
    await websocket.send("5")
    for number in range(20):
        assert await websocket.receive() == f'42["between",{number}]'
    assert await websocket.receive() == '451-["bytes",{"_placeholder":true,"num":0}]'
    assert await websocket.receive() == b"\0\xff"
    assert await websocket.closed() == Closed(1000)
    assert (await server.poll(sid)).status == 400
    await until(lambda: not server.sio.engine.ending)


@served()
async def test_a_client_that_gives_its_upgrade_up_polls_for_the_last_packets(
    server: Server,
) -> None:
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    websocket = await upgrade(server, sid)
    await server.sio.emit("between")
    await server.sio.engine.disconnect(sid)
    await websocket.send("6")
    assert isinstance(await websocket.closed(), Closed)
    assert (await server.poll(sid)).body == b'42["between"]'
    assert (await server.poll(sid)).body == b"1"


@served()
async def test_a_client_that_never_ends_its_upgrade_is_closed_in_time(
    server: Server, monkeypatch: Any
) -> None:
    monkeypatch.setattr("app.transport.engineio.probe.UPGRADE_TIMEOUT", 0.1)
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    await server.sio.engine.disconnect(sid)
    assert await websocket.closed() == Closed(None)
    await until(lambda: not server.sio.engine.ending)


@served()
async def test_a_client_that_leaves_during_its_upgrade_is_closed_at_once(server: Server) -> None:
    """It is told nothing more, so its WebSocket does not wait."""
    sid = await server.handshake()
    websocket = await upgrade(server, sid)
    await server.post(sid, "1")
    assert await asyncio.wait_for(websocket.closed(), 5) == Closed(1000)
