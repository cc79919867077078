"""The limits on the data that waits for a client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from tests.support.raw_websocket import Closed, plain_client
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until


def small_receive_buffer(port: int) -> socket.socket:
    """Connect a socket whose kernel takes little, so that the server's buffer fills."""
    plain = plain_client(port, receive_buffer=4096)
    plain.setblocking(False)
    return plain


def is_cut_off(plain: socket.socket) -> bool:
    """Read the data that has arrived; return True once the server has closed the connection."""
    try:
        while plain.recv(1_000_000):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    plain.close()
    return True


@served(send_timeout=0.2)
async def test_a_client_that_does_not_read_is_closed_and_counted(server: Server) -> None:
    """Other clients notice nothing. In python-engineio such a client takes 300 MB."""
    healthy = await server.client()
    slow = small_receive_buffer(server.port)
    await until(lambda: len(server.sio.manager.clients) == 2)
    for n in range(400):
        await server.sio.emit("news", "x" * 50_000)
        if n % 2:
            assert (await healthy.receive()).startswith('42["news"')
            assert (await healthy.receive()).startswith('42["news"')
        if server.closed:
            break
    await until(lambda: server.closed)
    assert [reason for _, reason in server.closed] == ["client reads too slowly"]
    assert server.sio.engine.closed_by["client reads too slowly"] == 1
    await until(lambda: is_cut_off(slow))
    assert server.closed[0][0] != healthy.sid


@served(send_buffer=10**8)
async def test_data_in_the_write_buffer_does_not_count_as_delivered(server: Server) -> None:
    """Later additions change nothing, so a pong cannot count for a ping in the buffer."""
    slow = small_receive_buffer(server.port)
    await until(lambda: server.sio.manager.clients)
    (connection,) = server.sio.engine.connections.values()
    for _ in range(200):
        await server.sio.emit("news", "x" * 50_000)
        await asyncio.sleep(0)
    transport: Any = connection.transport
    mark = transport._outbox._sent + transport._outbox._queue.size
    for _ in range(20):
        await server.sio.emit("more")
        await asyncio.sleep(0)
        assert not connection.transport.delivered(mark)
    slow.settimeout(0)
    while not connection.transport.delivered(mark):
        with contextlib.suppress(BlockingIOError):
            assert slow.recv(1_000_000)
        await asyncio.sleep(0)
    slow.close()


@served(send_timeout=0.2)
async def test_a_poller_that_does_not_poll_is_closed_too(server: Server) -> None:
    """The same limit holds for packets that wait for the next poll."""
    sid = await server.handshake()
    await server.post(sid, "40")
    for _ in range(5):
        await server.sio.emit("news", "x" * 50_000)
    assert not server.closed
    await until(lambda: server.closed)
    assert server.closed == [(sid, "client reads too slowly")]


@served()
async def test_one_message_may_be_bigger_than_the_send_buffer(server: Server) -> None:
    """The limit is on the backlog, and one message is not limited."""
    websocket = await server.client()
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.sio.emit("big", "x" * 3_000_000)
    assert len(await websocket.receive()) > 3_000_000
    assert len((await server.poll(sid)).body) > 3_000_000
    await asyncio.sleep(0.05)
    await server.sio.emit("small")
    assert await websocket.receive() == '42["small"]'


@served(send_timeout=0.2)
async def test_many_small_messages_count_as_a_backlog(server: Server) -> None:
    """Each is small, and is sent in its own turn of the loop."""
    slow = small_receive_buffer(server.port)
    await until(lambda: server.sio.manager.clients)
    for _ in range(4000):
        await server.sio.emit("news", "x" * 5_000)
        await asyncio.sleep(0)
        if server.closed:
            break
    await until(lambda: server.closed)
    slow.close()
    assert [reason for _, reason in server.closed] == ["client reads too slowly"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(max_send_backlog=5_000_000)
async def test_the_backlog_is_bounded_within_one_turn_of_the_loop(
    server: Server, transport: str
) -> None:
    """An emit never waits, so clients cannot read during a loop of emits."""
    if transport == "websocket":
        sid = (await server.client()).sid
    else:
        sid = await server.handshake()
        await server.post(sid, "40")
    for _ in range(20_000):
        await server.sio.emit("news", "x" * 1_000)
        assert server.sio.engine.connections[sid].transport.waiting() < 5_500_000
    await until(lambda: server.closed)
    assert server.closed == [(sid, "client reads too slowly")]


@served(max_send_backlog=300_000)
async def test_the_close_frame_follows_a_message_of_any_size(server: Server) -> None:
    """One message may be larger than the backlog, and the close frame is none."""
    websocket = await server.client()
    large = "x" * 20_000_000
    await server.sio.emit("large", large)
    await server.sio.engine.disconnect(websocket.sid)
    assert await websocket.receive() == f'42["large","{large}"]'
    assert await websocket.closed() == Closed(1000)
    assert server.closed == [(websocket.sid, "server disconnect")]


@pytest.mark.parametrize("news", ["x" * 50_000, b"x" * 50_000])
@served(namespaces=(Echo,), max_send_backlog=300_000)
async def test_the_emits_of_a_connect_handler_are_bounded(
    server: Server, news: str | bytes
) -> None:
    """They wait for the CONNECT reply."""

    class Talker(Echo):
        async def on_connect(self, sid: str, environ: Any, auth: Any = None) -> None:
            for _ in range(10):
                await self.emit("news", news, to=sid)
            await asyncio.Event().wait()

    server.sio.register_namespace(Talker("/talker"))
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send("40/talker")
    await asyncio.wait_for(websocket.closed(), 10)
    assert server.closed[0][1] == "client reads too slowly"
