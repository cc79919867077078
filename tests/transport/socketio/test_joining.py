"""Clients join namespaces (Socket.IO protocol revision 5), over WebSockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from tests.support.raw_websocket import Closed
from tests.support.slow_echo import Lingering
from tests.support.socket_server import Echo, Server, served


@served()
async def test_the_connect_reply_comes_before_the_emits_of_its_handler(server: Server) -> None:
    """The reply has the sid only, and the handler gets the auth payload."""
    for namespace in ("", "/other,"):
        websocket = await server.unjoined()
        await websocket.send(f"40{namespace}" + '{"token":"abc"}')
        reply = await websocket.receive()
        assert json.loads(reply[2 + len(namespace) :]).keys() == {"sid"}
        assert await websocket.receive() == f'42{namespace}["auth",{{"token":"abc"}}]'


@served()
async def test_an_unknown_namespace_is_refused(server: Server) -> None:
    """The client stays in its other namespaces."""
    websocket = await server.client()
    await websocket.send("40/random", '421["ack",1]')
    assert await websocket.receive() == '44/random,{"message":"Invalid namespace"}'
    assert await websocket.receive() == "431[1]"
    assert not server.sio.manager.rooms.get("/random")


@served(namespaces=())
async def test_the_main_namespace_needs_no_handler(server: Server) -> None:
    """As in python-socketio and in Node's server. Its events are ignored."""
    websocket = await server.unjoined()
    await websocket.send("40", '421["news"]')
    assert (await websocket.receive()).startswith('40{"sid":')
    assert await websocket.quiet()


class Doorkeeper(Echo):
    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await self.emit("secret", to=sid)
        await self.enter_room(sid, "inside")
        if auth == {"as": "unauthorized"}:
            raise Refused("unauthorized")
        if auth == {"as": "detailed"}:
            raise Refused("no", {"retry": False})
        if auth == {"as": "broken"}:
            raise RuntimeError("this handler fails")
        if auth == {"as": "slow"}:
            await asyncio.sleep(0.05)


class Refuser(socketio.AsyncNamespace):
    def on_connect(self, sid: str, environ: dict[str, Any]) -> bool:
        return False


@pytest.mark.parametrize(
    ("auth", "answer"),
    [
        ("unauthorized", '44{"message":"unauthorized"}'),
        ("detailed", '44{"message":"no","data":{"retry":false}}'),
        ("broken", '44{"message":"Connection rejected by server"}'),
    ],
)
@served(namespaces=(Doorkeeper,))
async def test_a_refused_connect_gets_its_reason_and_nothing_else(
    server: Server, auth: str, answer: str
) -> None:
    """The emits before the refusal are dropped, and the client leaves its rooms."""
    websocket = await server.unjoined()
    await websocket.send('40{"as":"' + auth + '"}')
    assert await websocket.receive() == answer
    assert await websocket.quiet()
    assert not server.sio.manager.rooms
    assert not server.sio.manager.clients


@served(namespaces=(Echo, Refuser))
async def test_a_handler_that_returns_false_refuses(server: Server) -> None:
    """The handler is a function without the `auth` argument, python-socketio's oldest form."""
    websocket = await server.unjoined()
    await websocket.send("40/custom,")
    assert (await websocket.receive()).startswith("44/custom,{")


@pytest.mark.parametrize(
    "packets",
    [
        ['42["message"]'],
        ['42/other,["message"]'],
        ["41"],
        ["431[]"],
        [b"stray"],
        ["40", "40"],
        ['40{"as":"slow"}', "40"],
        ['40{"as":"slow"}', '42["message"]'],
        ["40", '44{"message":"x"}'],
        ["40", "4abc"],
        ["40", "42{}"],
        ["40", '42abc["message"]'],
        ["40", b"stray"],
        ["40", '451-["a",{"_placeholder":true,"num":0}]', "42[]"],
        ["40", '451-["a",{"_placeholder":true,"num":1}]', b"x"],
        ["40", '42["connect",{}]'],
        ["40", '42["*","x"]'],
    ],
)
@served(namespaces=(Doorkeeper,))
async def test_a_packet_out_of_place_closes_the_connection(
    server: Server, packets: list[Any], caplog: Any
) -> None:
    """The log has one line without a traceback and without the packet."""
    websocket = await server.unjoined()
    await websocket.send(*packets)
    assert isinstance(await asyncio.wait_for(websocket.closed(), 1), Closed)
    await asyncio.sleep(0.06)
    assert server.closed == [(websocket.sid, "protocol violation")]
    assert not server.sio.manager.clients
    assert not server.sio.manager.rooms
    assert not server.sio.environ
    lines = [record for record in caplog.records if record.name == "app.transport"]
    assert len(lines) == 1
    assert lines[0].exc_info is None
    assert "stray" not in lines[0].getMessage()


@served(join_timeout=0.1)
async def test_a_client_that_joins_no_namespace_is_closed(server: Server) -> None:
    """Leaving the last namespace starts the deadline again."""
    never = await server.unjoined()
    leaver = await server.client()
    stayer = await server.client()
    assert await never.closed() == Closed(1000)
    await leaver.send("41")
    assert await leaver.closed() == Closed(1000)
    assert [reason for _, reason in server.closed] == ["join timeout"] * 2
    await stayer.send('421["ack"]')
    assert await stayer.receive() == "431[]"


@served(join_timeout=0.2)
async def test_a_client_that_rejoins_in_time_stays(server: Server) -> None:
    """It may leave several namespaces before that, in any order."""
    websocket = await server.client()
    await websocket.send("40/other")
    await websocket.receive()
    await websocket.receive()
    await websocket.send("41", "41/other", "40")
    assert (await websocket.receive()).startswith('40{"sid":')
    assert await websocket.receive() == '42["auth",{}]'
    assert await websocket.quiet(0.4)
    await websocket.send('421["ack"]')
    assert await websocket.receive() == "431[]"


@served(namespaces=(Lingering, Lingering), join_timeout=0.2)
async def test_leaving_two_namespaces_starts_one_deadline(server: Server) -> None:
    """Their disconnect handlers end one after the other."""
    websocket = await server.client()
    await websocket.send("40/custom")
    await websocket.receive()
    await websocket.receive()
    await websocket.send("41", "41/custom")
    await asyncio.sleep(0.1)
    await websocket.send("40")
    await websocket.receive()
    await websocket.receive()
    assert await websocket.quiet(0.3)
