"""Clients leave, and the server disconnects them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support.raw_websocket import Closed
from tests.support.slow_echo import Lingering, Slow
from tests.support.socket_server import Server, run, serve, served


@served(namespaces=(Slow,))
async def test_leaving_one_namespace_keeps_the_others(server: Server) -> None:
    """The client may join the namespace again."""
    Slow.left.clear()
    websocket = await server.client()
    await websocket.send("40/other", "41", '42/other,1["ack"]', "40")
    answers = [await websocket.receive() for _ in range(5)]
    assert [answer[:9] for answer in answers] == [
        "40/other,",
        "42/other,",
        "43/other,",
        '40{"sid":',
        '42["auth"',
    ]
    assert [reason for _, reason in Slow.left] == ["client disconnect"]
    assert len(server.sio.manager.clients) == 2


@served(namespaces=(Lingering,))
async def test_a_client_may_come_back_while_its_disconnect_handler_runs(
    server: Server, caplog: Any
) -> None:
    """It gets a new sid, which stays when the old one has left."""
    caplog.set_level(logging.ERROR, "app.transport")
    websocket = await server.client()
    await websocket.send("41", "40")
    await websocket.receive()
    await websocket.receive()
    assert len(server.sio.manager.clients) == 2
    await asyncio.sleep(0.1)
    assert len(server.sio.manager.clients) == 1
    assert not caplog.records
    await websocket.send('421["ack"]')
    assert await websocket.receive() == "431[]"


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("disconnect", [False, True])
@served(namespaces=(Slow,))
async def test_closing_a_peer_flushes_and_then_closes_the_transport(
    server: Server, disconnect: bool, transport: str
) -> None:
    """The transport accepts no more clients after that."""
    Slow.left.clear()
    websocket: Any = None
    if transport == "websocket":
        websocket = await server.client()
        sid = websocket.sid
    else:
        sid = await server.handshake()
        await server.post(sid, "40")
        await server.poll(sid)
    await server.sio.emit("last", "words")
    peer = server.sio.peers[sid]
    peer.close(disconnect=disconnect)
    assert [reason for _, reason in Slow.left] == ["server disconnect"]
    assert server.closed == [(sid, "server disconnect")]
    assert not server.sio.manager.clients
    if transport == "websocket":
        await websocket.send("40", '42["message"]')
        assert await websocket.receive() == '42["last","words"]'
        if disconnect:
            assert await websocket.receive() == "41"
        assert await websocket.receive() == Closed(1000)
    else:
        assert (await server.post(sid, "40")).status == 400
        last = (await server.poll(sid)).body.split(b"\x1e")
        assert last == [b'42["last","words"]', *([b"41"] if disconnect else [])]
        assert (await server.poll(sid)).body == b"1"
        assert (await server.poll(sid)).status == 400
    assert not server.sio.environ
    peer.close()
    assert len(server.closed) == 1


@served()
async def test_closing_a_peer_answers_an_open_poll(server: Server) -> None:
    """The response has all emits and the DISCONNECT; the close comes with the next poll.

    The official client drops emits that come in one payload with the close.
    """
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    poll = asyncio.create_task(server.poll(sid))
    await asyncio.sleep(0.05)
    await server.sio.emit("last")
    server.sio.peers[sid].close(disconnect=True, reason="logout")
    assert (await poll).body == b'42["last"]\x1e41'
    assert (await server.poll(sid)).body == b"1"
    assert server.closed == [(sid, "logout")]


@served()
async def test_disconnect_closes_a_transport_that_nothing_else_needs(server: Server) -> None:
    """The transport stays open while another namespace is joined."""
    websocket = await server.client()
    peer = server.sio.peers[websocket.sid]
    await websocket.send("40/other")
    await websocket.receive()
    await websocket.receive()
    await server.sio.disconnect(peer.clients["/other"], namespace="/other")
    assert await websocket.receive() == "41/other,"
    await server.sio.disconnect(peer.clients["/"])
    assert await websocket.receive() == "41"
    assert await websocket.receive() == Closed(1000)


class Doomed(Slow):
    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await self.enter_room(sid, "room")
        await asyncio.sleep(0.05)


@served(namespaces=(Doomed,))
async def test_a_client_that_leaves_while_it_joins_is_removed(server: Server) -> None:
    """Its disconnect handler runs after its connect handler."""
    Slow.left.clear()
    websocket = await server.unjoined()
    await websocket.send("40", "1")
    await websocket.closed()
    await asyncio.sleep(0.1)
    assert len(Slow.left) == 1
    assert not server.sio.manager.clients
    assert not server.sio.manager.rooms
    assert not server.sio.environ


def test_shutdown_closes_all_clients_with_going_away() -> None:
    """Code 1001 makes the official client reconnect."""

    async def body() -> None:
        async with serve() as server:
            websocket = await server.client()
            sid = await server.handshake()
            poll = asyncio.create_task(server.poll(sid))
            await asyncio.sleep(0.05)
            await server.sio.shutdown()
            assert await websocket.receive() == Closed(1001)
            assert (await poll).body == b"1"
            assert not server.sio.engine.connections

    run(body())


@served()
async def test_the_session_api_of_python_socketio_works(server: Server) -> None:
    """`get_session`, `save_session` and `session` hold data per connection and namespace."""
    websocket = await server.client()
    sid = server.sio.peers[websocket.sid].clients["/"]
    async with server.sio.session(sid) as data:
        data["a"] = 1
    assert await server.sio.get_session(sid) == {"a": 1}
    assert server.sio.get_environ(sid)["REQUEST_METHOD"] == "GET"
    assert server.sio.transport(sid) == "websocket"
