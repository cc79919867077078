"""Events and acks, over WebSockets."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from app.transport.socketio import packet_json
from tests.support.attributes import has_dict
from tests.support.raw_websocket import Closed
from tests.support.socket_server import Server, served


@served()
async def test_events_and_acks_travel_both_ways(server: Server) -> None:
    """They have text and binary data, in both namespaces."""
    websocket = await server.client()
    await websocket.send('42["message",1,"2",{"3":[true]}]')
    assert await websocket.receive() == '42["message-back",1,"2",{"3":[true]}]'
    await websocket.send('42456["ack",1,"2",{"3":[false]}]')
    assert await websocket.receive() == '43456[1,"2",{"3":[false]}]'
    placeholders = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
    await websocket.send(f'452-789["ack",{placeholders}]', b"\1\2", b"\3")
    assert await websocket.receive() == f"462-789[{placeholders}]"
    assert await websocket.receive() == b"\1\2"
    assert await websocket.receive() == b"\3"
    await websocket.send('451-9["ack",{"_placeholder":true,"num":0}]', "bAQI=")
    assert (await websocket.receive()).startswith("461-9[")
    assert await websocket.receive() == b"\1\2"
    await websocket.send("40/other", '42/other,7["ack",1]')
    await websocket.receive()
    await websocket.receive()
    assert await websocket.receive() == "43/other,7[1]"


@served()
@pytest.mark.attack("A40")
async def test_the_server_can_ask_a_client(server: Server) -> None:
    """`call` waits for the ack; an ack that was not requested is ignored."""
    websocket = await server.client()
    sid = server.sio.peers[websocket.sid].clients["/"]
    await websocket.send("430[]", "43999999[]", "43[]")
    call = asyncio.create_task(server.sio.call("question", {"a": 1}, to=sid))
    question = await websocket.receive()
    assert question.endswith('["question",{"a":1}]')
    id = question[2 : question.index("[")]
    await websocket.send(f'43{id}["answer"]')
    assert await call == "answer"
    await websocket.send(f'43{id}["again"]', '421["ack"]')
    assert await websocket.receive() == "431[]"


@served()
async def test_an_emit_reaches_each_receiver_once_in_order(server: Server) -> None:
    """Emit to a room, several rooms, a sid, all clients, and all but one."""
    one, two = await server.client(), await server.client()
    sids = [server.sio.peers[client.sid].clients["/"] for client in (one, two)]
    for room in ("a", "b"):
        await server.sio.enter_room(sids[0], room)
    await server.sio.enter_room(sids[1], "b")
    assert set(server.sio.rooms(sids[0])) == {sids[0], "a", "b"}
    await server.sio.emit("1", to="a")
    await server.sio.emit("2", to=["a", "b"])
    await server.sio.emit("3", to=sids[0])
    await server.sio.emit("4", (1, b"x"))
    await server.sio.emit("5", skip_sid=sids[1])
    await server.sio.emit("6", to="nobody")
    await server.sio.leave_room(sids[0], "a")
    await server.sio.emit("7", to="a")
    for expected in ('42["1"]', '42["2"]', '42["3"]'):
        assert await one.receive() == expected
    assert await one.receive() == '451-["4",1,{"_placeholder":true,"num":0}]'
    assert await one.receive() == b"x"
    assert await one.receive() == '42["5"]'
    assert await two.receive() == '42["2"]'
    assert await two.receive() == '451-["4",1,{"_placeholder":true,"num":0}]'
    assert await two.receive() == b"x"
    assert await one.quiet()
    assert await two.quiet()
    await server.sio.close_room("b")
    assert set(server.sio.manager.rooms["/"]) == {None}


@served()
async def test_an_emit_is_encoded_once_for_all_receivers(server: Server, monkeypatch: Any) -> None:
    clients = [await server.client() for _ in range(3)]
    encoded: list[Any] = []
    encode = packet_json.encode

    def noted(*call: Any) -> Any:
        encoded.append(call)
        return encode(*call)

    monkeypatch.setattr(packet_json, "encode", noted)
    await server.sio.emit("news", 1)
    assert len(encoded) == 1
    for client in clients:
        assert await client.receive() == '42["news",1]'


@served()
async def test_what_all_events_read_keeps_its_attributes_without_a_dict(server: Server) -> None:
    """With one, Python 3.11 would need 5 % more for each event."""
    client = await server.client()
    await client.send('420["ack"]')
    assert (await client.receive()).startswith("430")
    sio = server.sio
    for shared in (sio, sio.engine, sio.engine.wheel, sio.manager, sio.tasks):
        assert not has_dict(shared), shared


@served()
async def test_the_room_of_all_clients_cannot_be_entered_or_left(server: Server) -> None:
    """A client's own sid is such a room too; both stay as they were."""
    websocket = await server.client()
    sid = server.sio.peers[websocket.sid].clients["/"]
    for room in (None, sid):
        await server.sio.enter_room(sid, room)
        assert server.sio.rooms(sid) == [sid]
        await server.sio.leave_room(sid, room)
        await server.sio.emit("all")
        await server.sio.emit("one", to=sid)
        assert await websocket.receive() == '42["all"]'
        assert await websocket.receive() == '42["one"]'


@served()
async def test_functions_can_handle_events(server: Server) -> None:
    """A catch-all handler gets no reserved event names."""
    caught: list[Any] = []
    server.sio.on("sum", lambda sid, a, b: a + b, namespace="/functions")
    server.sio.on("*", lambda event, sid, *args: caught.append((event, args)), "/functions")
    websocket = await server.unjoined()
    await websocket.send("40/functions", '42/functions,1["sum",2,3]', '42/functions,2["other",4]')
    await websocket.receive()
    assert await websocket.receive() == "43/functions,1[5]"
    assert await websocket.receive() == "43/functions,2[]"
    assert caught == [("other", (4,))]
    await websocket.send('42/functions,["disconnect"]')
    assert isinstance(await websocket.closed(), Closed)
    assert len(caught) == 1


@served()
async def test_an_exception_in_a_handler_keeps_the_connection_open(
    server: Server, caplog: Any
) -> None:
    """The log has its traceback, and the client gets an ack."""
    websocket = await server.client()
    await websocket.send('421["fail"]', '422["ack"]')
    assert await websocket.receive() == '431[{"error":"internal error"}]'
    assert await websocket.receive() == "432[]"
    (line,) = [record for record in caplog.records if record.name == "app.transport"]
    assert line.levelno == logging.ERROR
    assert line.exc_info is not None
    assert not server.closed
