"""A connection that has ended is freed at once, without the garbage collector.

What lies in reference cycles stays until a collection, which stops all clients: with 10,000 ended
connections for 0.3 s.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest

from app.transport.engineio.connection import Connection
from app.transport.engineio.heartbeat import Heartbeat
from app.transport.engineio.polling import Polling
from app.transport.engineio.token_bucket import TokenBucket
from app.transport.engineio.websocket import WebSocket
from app.transport.engineio.websocket_outbox import Outbox
from app.transport.engineio.websocket_reader import Reader
from app.transport.http.connection import HttpConnection
from app.transport.socketio.peer import JoinDeadline, Peer
from tests.support.freed import in_memory, no_collections
from tests.support.raw_websocket import HANDSHAKE
from tests.support.socket_server import Server, served
from tests.support.waiting import until

OF_A_CONNECTION = (
    *(Connection, Heartbeat, HttpConnection, JoinDeadline, Outbox),
    *(Peer, Polling, Reader, TokenBucket, WebSocket),
)


__all__ = ["no_collections"]


async def client_closes(server: Server) -> None:
    websocket = await server.client()
    await websocket.send('421["ack"]')
    await websocket.receive()
    await websocket.leave()


async def client_is_cut(server: Server) -> None:
    """The client's reset comes while the connection is in no namespace yet."""
    websocket = await server.unjoined()
    sock: socket.socket = websocket.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    websocket.writer.transport.abort()


async def server_closes(server: Server) -> None:
    websocket = await server.client()
    await server.sio.engine.disconnect(websocket.sid)
    await websocket.closed()
    await websocket.leave()


async def client_breaks_the_protocol(server: Server) -> None:
    websocket = await server.client()
    await websocket.send("4nonsense")
    await websocket.closed()
    await websocket.leave()


async def client_answers_no_ping(server: Server) -> None:
    websocket = await server.client()
    while await websocket.receive() == "2":
        pass
    await websocket.leave()


async def client_is_throttled(server: Server) -> None:
    websocket = await server.client()
    await websocket.send(*[f'42{n}["ack"]' for n in range(300)])
    await until(lambda: server.sio.engine.throttled)
    await websocket.leave()


async def polls_end(server: Server) -> None:
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, "1")
    await server.poll(sid)


async def open_poll_is_answered(server: Server) -> None:
    sid = await server.handshake()
    poll = asyncio.ensure_future(server.poll(sid))
    await until(lambda: server.sio.engine.connections[sid].transport.polled)  # type: ignore[attr-defined]
    await server.sio.engine.disconnect(sid)
    await poll


async def client_upgrades(server: Server) -> None:
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe")
    await websocket.receive()
    await websocket.send("5")
    await until(lambda: server.upgraded)
    await websocket.leave()


async def upgrade_fails(server: Server) -> None:
    sid = await server.handshake()
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("nonsense")
    await websocket.closed()
    await websocket.leave()
    await server.post(sid, "1")


WAYS = (
    *(client_closes, client_is_cut, server_closes, client_breaks_the_protocol),
    *(client_answers_no_ping, client_is_throttled),
    *(polls_end, open_poll_is_answered, client_upgrades, upgrade_fails),
)


@pytest.mark.usefixtures("no_collections")
@pytest.mark.parametrize("end", WAYS)
@served(both_loops=True, ping_interval=0.3, ping_timeout=0.3, events_per_second=100)
async def test_an_ended_connection_is_freed_at_once(
    server: Server, end: Callable[[Server], Awaitable[None]]
) -> None:
    await end(server)
    server.clients.clear()
    await until(lambda: not in_memory(*OF_A_CONNECTION), 5)
