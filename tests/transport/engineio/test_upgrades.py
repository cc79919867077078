"""Upgrades from polling: one at a time, and each holds only its own socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.raw_websocket import HANDSHAKE, Closed, WebSocket, frame
from tests.support.socket_server import Server, served


async def probing(server: Server) -> tuple[str, WebSocket]:
    """Return a polling client's id and its WebSocket after the reply to its probe."""
    sid = await server.handshake()
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    return sid, websocket


@pytest.mark.parametrize("upgraded", [False, True])
@served()
async def test_a_second_upgrade_holds_no_socket(server: Server, upgraded: bool) -> None:
    """It gets its 101 and a close frame; the server does not wait for the client's."""
    sid, first = await probing(server)
    if upgraded:
        await first.send("5", "40")
        assert (await first.receive()).startswith("40")
    others = [await server.websocket(f"{HANDSHAKE}websocket&sid={sid}") for _ in range(50)]
    assert not server.sio.engine.ending
    for other in others:
        assert await other.receive_frame() == (0x8, b"")
        assert await asyncio.wait_for(other.reader.read(), 1) == b""
    if not upgraded:
        await first.send("5", "40")
        assert (await first.receive()).startswith("40")
    assert not server.closed


@pytest.mark.parametrize(
    "flood",
    [
        frame(0x89, b"") * 1000,
        frame(0x8A, b"") * 1000,
        frame(0x00, b"") * 1000,
        frame(0x81, b"2probe") * 1000,
    ],
)
@served()
async def test_a_probe_that_floods_fails(server: Server, flood: bytes) -> None:
    """The event rate does not apply to a probe, so its frames are counted; polling continues."""
    sid, websocket = await probing(server)
    await websocket.send_raw((frame(0x01, b"5") if flood[0] == 0 else b"") + flood)
    assert isinstance(await websocket.closed(), Closed)
    assert (await server.post(sid, "40")).status == 200
    assert (await server.poll(sid)).body.startswith(b"40")


@served()
async def test_a_ping_does_not_fail_a_probe(server: Server) -> None:
    """A few control frames are allowed."""
    _, websocket = await probing(server)
    messages: list[Any] = []
    await websocket.send_raw(frame(0x89, b"hi") * 3)
    for _ in range(3):
        messages.append(await websocket.receive())
    assert messages == [(0xA, b"hi")] * 3
    await websocket.send("5", "40")
    assert (await websocket.receive()).startswith("40")
