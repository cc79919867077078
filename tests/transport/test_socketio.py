"""Socket.IO (protocol revision 5), over WebSockets except where polling matters."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import weakref
from typing import Any

import pytest
import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from app.transport.socketio import packet_json
from tests.support.raw_websocket import Closed, WebSocket
from tests.support.socket_server import Echo, Server, run, serve, served

seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="nothing")


async def opened(server: Server) -> WebSocket:
    """A WebSocket that has joined no namespace yet."""
    websocket = await server.websocket()
    websocket.sid = json.loads((await websocket.receive())[1:])["sid"]
    return websocket


class Lingering(Echo):
    async def on_disconnect(self, sid: str, reason: str) -> None:
        assert sid in self.server.manager.clients
        assert not self.server.manager.is_connected(sid, self.namespace)
        await asyncio.sleep(0.05)


# Joining


@served()
async def test_the_connect_reply_comes_before_the_emits_of_its_handler(server: Server) -> None:
    """The reply has the sid only, and the handler gets the auth payload."""
    for namespace in ("", "/other,"):
        websocket = await opened(server)
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
    websocket = await opened(server)
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
    websocket = await opened(server)
    await websocket.send('40{"as":"' + auth + '"}')
    assert await websocket.receive() == answer
    assert await websocket.quiet()
    assert not server.sio.manager.rooms
    assert not server.sio.manager.clients


@served(namespaces=(Echo, Refuser))
async def test_a_handler_that_returns_false_refuses(server: Server) -> None:
    """The handler is a function without the `auth` argument, python-socketio's oldest form."""
    websocket = await opened(server)
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
    websocket = await opened(server)
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
    never = await opened(server)
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


# Events and acks


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
    websocket = await opened(server)
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


# Handlers are tasks


left_by: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
released: list[str] = []


def look(name: str) -> list[Any]:
    """Return the traces found on the current task, then leave a name there in every way."""
    task: Any = asyncio.current_task()
    found = [left_by.get(task), getattr(task, "user", None), task.get_name().startswith("user")]
    left_by[task] = task.user = name
    task.set_name(f"user {name}")
    task.add_done_callback(lambda _: released.append(name))
    return found


class Curious(Echo):
    """Looks for traces on its task before the first wait, and after it."""

    async def on_task(self, sid: str) -> Any:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return [before is not None, before is asyncio.current_task(), before in asyncio.all_tasks()]

    async def on_context(self, sid: str, wait: bool) -> Any:
        was = seen.get()
        seen.set(sid)
        if wait:
            await asyncio.sleep(0)
        return [was, seen.get() == sid]

    async def on_timeout(self, sid: str) -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
        except TimeoutError:
            return "timed out"
        return "slept"

    async def on_cancel(self, sid: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            task.uncancel()
            return "cancelled"
        return "slept"

    async def on_cancelled_itself(self, sid: str) -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "went on"

    async def on_give_up(self, sid: str) -> None:
        async def give_up() -> None:
            raise asyncio.CancelledError

        await self.emit("question", to=sid, callback=give_up)
        await give_up()

    async def on_look(self, sid: str, name: str) -> Any:
        return look(name)

    async def on_gather(self, sid: str) -> Any:
        async def child(n: int) -> int:
            await asyncio.sleep(0.001 * n)
            return n

        return [await asyncio.gather(child(2), child(1))]


@served(namespaces=(Curious,))
async def test_a_handler_is_an_ordinary_task_from_its_first_line(server: Server) -> None:
    """It begins at once, and has one task and one context before and after a wait."""
    websocket = await server.client()
    for event, answer in (
        ('["task"]', "[[true,true,true]]"),
        ('["context",false]', '[["nothing",true]]'),
        ('["context",true]', '[["nothing",true]]'),
        ('["timeout"]', '["timed out"]'),
        ('["cancel"]', '["cancelled"]'),
        ('["gather"]', "[[[2,1]]]"),
    ):
        await websocket.send("421" + event)
        assert await websocket.receive() == "431" + answer
    assert seen.get() == "nothing"


@served(namespaces=(Curious,))
async def test_a_handler_of_a_post_has_its_own_task(server: Server) -> None:
    """The task that handles the POST is current again afterwards."""
    sid = await server.handshake()
    await server.post(sid, '40\x1e421["task"]\x1e422["timeout"]\x1e423["cancel"]')
    acks: set[bytes] = set()
    while len(acks) < 3:
        packets = (await server.poll(sid)).body.split(b"\x1e")
        acks |= {packet for packet in packets if packet.startswith(b"43")}
    assert acks == {b"431[[true,true,true]]", b'432["timed out"]', b'433["cancelled"]'}


@served(namespaces=(Curious,))
async def test_events_of_one_turn_of_the_loop_are_isolated(server: Server) -> None:
    """The next event sees neither context variables nor a cancellation of an earlier one."""
    websocket = await server.client()
    events = ['"cancelled_itself"', '"gather"', '"context",false', '"context",false', '"task"']
    await websocket.send(*[f"42{n}[{event}]" for n, event in enumerate(events)])
    acks = {await websocket.receive() for _ in events}
    fresh = '[["nothing",true]]'
    assert acks == {
        '430["went on"]',
        "431[[[2,1]]]",
        "432" + fresh,
        "433" + fresh,
        "434[[true,true,true]]",
    }


@served(namespaces=(Curious,))
async def test_two_users_never_share_a_task(server: Server) -> None:
    """Data kept for the task of one event is absent in the next, and is released."""
    released.clear()
    ann, bob = await server.client(), await server.client()
    for client, name in ((ann, "ann"), (bob, "bob"), (ann, "ann")):
        await client.send(f'421["look","{name}"]')
        assert await client.receive() == "431[[null,null,false]]"
    await bob.send('422["task"]')
    await bob.receive()
    assert released == ["ann", "bob", "ann"]


@served(namespaces=(Curious,))
async def test_a_cancelled_handler_closes_no_connection(server: Server) -> None:
    """An event or the callback of an ack is cancelled before its first wait."""
    websocket = await server.client()
    await websocket.send('421["give_up"]')
    assert await websocket.receive() == '421["question"]'
    assert await websocket.receive() == "431[]"
    await websocket.send("431[]", '422["task"]')
    assert await websocket.receive() == "432[[true,true,true]]"
    assert not server.closed


class Slow(Echo):
    order: list[int] = []
    left: list[tuple[str, str]] = []

    async def on_slow(self, sid: str, n: int) -> int:
        self.order.append(n)
        await asyncio.sleep(0.05 - n / 100)
        return n

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.left.append((sid, reason))


@served(namespaces=(Slow,))
async def test_events_of_one_client_start_in_order_and_may_overtake(server: Server) -> None:
    """As with python-socketio's `async_handlers`."""
    Slow.order.clear()
    websocket = await server.client()
    await websocket.send(*[f'42{n}["slow",{n}]' for n in range(4)])
    assert [await websocket.receive() for _ in range(4)] == [f"43{n}[{n}]" for n in (3, 2, 1, 0)]
    assert Slow.order == [0, 1, 2, 3]


# Leaving


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
    websocket = await opened(server)
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
