"""Clients that leave one namespace of several, on raw Socket.IO."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError as Refused

from app.transport.socketio.left_namespaces import MAX_LATE_PACKETS, MAX_LEFT_NAMESPACES
from tests.support.raw_websocket import HANDSHAKE, Closed, WebSocket
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until

CUSTOM = "/custom"
#: What may be under way when a client leaves.
LATE: list[str | bytes] = [
    '42/custom,["message","x"]',
    '42/custom,7["ack"]',
    "43/custom,1[]",
    '451-/custom,["message",{"_placeholder":true,"num":0}]',
    b"attachment",
    '461-/custom,1[{"_placeholder":true,"num":0}]',
    b"attachment",
    "41/custom,",
]


class Club(Echo):
    """Refuses some clients, lets others wait for `gate`, and records its events."""

    gate = asyncio.Event()
    seen: list[tuple[str, str]] = []

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        self.seen.append(("connect", sid))
        await self.emit("auth", auth or {}, to=sid)
        if auth == {"as": "slow"}:
            await self.gate.wait()
        if auth == {"as": "banned"}:
            await self.disconnect(sid)
        if auth == {"as": "refused"}:
            raise Refused("no")
        if auth == {"as": "banned and refused"}:
            await self.disconnect(sid)
            raise Refused("no")

    async def on_disconnect(self, sid: str, reason: str) -> None:
        await self.emit("left", room="everybody", skip_sid=sid)
        self.seen.append((reason, sid))

    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.seen if reason != "connect"]


def club(server: Server) -> Club:
    """Return the namespace with an empty record."""
    found: Club = server.sio.namespace_handlers[CUSTOM]
    found.seen, found.gate = [], asyncio.Event()
    return found


async def joined(server: Server, *namespaces: str) -> WebSocket:
    websocket = await server.client()
    for namespace in namespaces:
        await websocket.send(f"40{namespace},")
        assert (await websocket.receive()).startswith(f"40{namespace},")
        assert (await websocket.receive()).startswith(f"42{namespace},")
    return websocket


async def still_there(websocket: WebSocket) -> bool:
    """Return whether the namespace "/" answers and no other packet came."""
    await websocket.send('4299["ack"]')
    answer = await asyncio.wait_for(websocket.receive(), 2)
    return bool(answer == "4399[]")


def client_of(server: Server, websocket: WebSocket) -> str:
    return server.sio.peers[websocket.sid].clients[CUSTOM]


@pytest.mark.parametrize("how", ["kicked", "left", "refused", "unknown", "left while joining"])
@served(namespaces=(Echo, Club))
async def test_packets_for_a_namespace_that_was_just_left_are_ignored(
    server: Server, how: str
) -> None:
    """The client sent them before it heard; its other namespaces stay."""
    members = club(server)
    websocket = await joined(server)
    late = list(LATE)
    if how == "kicked":
        await websocket.send("40/custom,")
        await websocket.receive()
        await websocket.receive()
        await server.sio.disconnect(client_of(server, websocket), namespace=CUSTOM)
        assert await websocket.receive() == "41/custom,"
    elif how == "left":
        await websocket.send("40/custom,", "41/custom,")
        await websocket.receive()
        await websocket.receive()
    elif how == "refused":
        await websocket.send('40/custom,{"as":"refused"}')
        assert (await websocket.receive()).startswith("44/custom,")
    elif how == "unknown":
        await websocket.send("40/nowhere,")
        assert (await websocket.receive()).startswith("44/nowhere,")
        late = [
            item.replace(CUSTOM, "/nowhere") if isinstance(item, str) else item for item in late
        ]
    else:
        await websocket.send('40/custom,{"as":"slow"}', "41/custom,")
    await websocket.send(*late)
    assert await still_there(websocket)
    assert not server.closed
    members.gate.set()
    left = {"kicked": ["server disconnect"], "refused": [], "unknown": []}
    await until(lambda: members.reasons() == left.get(how, ["client disconnect"]))
    assert await still_there(websocket)


@served(namespaces=(Echo, Club))
async def test_a_client_that_goes_on_sending_to_a_namespace_it_left_is_closed(
    server: Server,
) -> None:
    """The number of ignored packets is limited."""
    websocket = await joined(server, CUSTOM)
    await websocket.send("41/custom,", *['42/custom,["message"]'] * MAX_LATE_PACKETS)
    assert await still_there(websocket)
    await websocket.send('42/custom,["message"]')
    assert await websocket.receive() == Closed(1008)
    assert server.closed == [(websocket.sid, "protocol violation")]


@served(namespaces=(Echo, Club))
async def test_a_packet_for_a_namespace_that_was_never_joined_closes(server: Server) -> None:
    """This holds even if the client has left another namespace."""
    websocket = await joined(server, CUSTOM)
    await websocket.send("41/custom,", '42/other,["message"]')
    assert await websocket.receive() == Closed(1008)


@served()
@pytest.mark.attack("A38")
async def test_few_namespaces_are_remembered_as_left(server: Server) -> None:
    """A client may ask for any number of names, so their number is limited."""
    websocket = await joined(server)
    for number in range(MAX_LEFT_NAMESPACES + 1):
        await websocket.send(f"40/nowhere{number},")
        await websocket.receive()
    await websocket.send(f'42/nowhere{MAX_LEFT_NAMESPACES},["a"]', '42/nowhere1,["a"]')
    assert await still_there(websocket)
    await websocket.send('42/nowhere0,["a"]')
    assert await websocket.receive() == Closed(1008)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("said", [False, True])
@served(namespaces=(Echo, Club))
async def test_a_client_may_join_leave_and_join_again_in_one_flush(
    server: Server, transport: str, slow: bool, said: bool
) -> None:
    """React's StrictMode does so. The client that left gets no emits and no late reply.

    The official client sends no DISCONNECT in between if it has no reply yet.
    """
    members = club(server)
    auth = '{"as":"slow"}' if slow else ""
    flush = ["40/custom," + auth, *(["41/custom,"] if said else []), "40/custom," + auth]
    if transport == "websocket":
        websocket = await joined(server)
        await websocket.send(*flush)
    else:
        sid = await server.handshake()
        await server.post(sid, "\x1e".join(["40", *flush]))
        websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
        await websocket.send("2probe", "5")
        for start in ("3probe", "40{", "42["):
            assert (await websocket.receive()).startswith(start)
    await until(lambda: len(members.seen) == (2 if slow else 3))
    members.gate.set()
    await until(lambda: len(members.seen) == 3)
    if not slow:  # the first client joined before it left
        assert (await websocket.receive()).startswith("40/custom,")
        assert (await websocket.receive()).startswith("42/custom,")
    (reason, gone), (_, first), (_, second) = sorted(
        members.seen, key=lambda it: it[0] == "connect"
    )
    assert (reason, gone) == ("client disconnect", first)
    assert json.loads((await websocket.receive())[10:]) == {"sid": second}
    assert (await websocket.receive()).startswith('42/custom,["auth"')
    await server.sio.emit("news", namespace=CUSTOM)
    assert await websocket.receive() == '42/custom,["news"]'
    assert await still_there(websocket)
    assert list(server.sio.manager.rooms[CUSTOM][None]) == [second]


class Dawdler(Echo):
    """Has a slow disconnect handler."""

    gate = asyncio.Event()

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await super().on_connect(sid, environ, auth)
        await self.enter_room(sid, "room")

    async def on_disconnect(self, sid: str, reason: str) -> None:
        await self.gate.wait()


@served(namespaces=(Echo, Dawdler))
async def test_a_client_whose_disconnect_handler_runs_gets_no_emits(server: Server) -> None:
    """If its connection has joined again, it would get each emit twice."""
    Dawdler.gate = asyncio.Event()
    websocket = await joined(server, CUSTOM)
    gone = client_of(server, websocket)
    await websocket.send("41/custom,", "40/custom,")
    await websocket.receive()
    await websocket.receive()
    assert "room" in server.sio.rooms(gone, namespace=CUSTOM)
    await server.sio.enter_room(gone, "late", namespace=CUSTOM)
    for room in (None, "room", "late", gone):
        await server.sio.emit("to", str(room), room=room, namespace=CUSTOM)
    assert await websocket.receive() == '42/custom,["to","None"]'
    assert await websocket.receive() == '42/custom,["to","room"]'
    assert await still_there(websocket)
    Dawdler.gate.set()


class Closer(Echo):
    """Closes the connection of a client that leaves."""

    async def on_disconnect(self, sid: str, reason: str) -> None:
        for peer in list(self.server.peers.values()):
            peer.close()


@served(namespaces=(Echo, Closer))
async def test_a_disconnect_handler_may_close_the_connection_of_a_client_that_joins_again(
    server: Server,
) -> None:
    """The client does not join then, and nothing fails."""
    websocket = await joined(server, CUSTOM)
    await websocket.send("40/custom,")
    await websocket.closed()
    assert server.closed == [(websocket.sid, "server disconnect")]
    assert not server.sio.leaving


@served(namespaces=(Echo, Club))
async def test_a_client_disconnected_in_its_connect_handler_joins_and_leaves(
    server: Server,
) -> None:
    """It receives the handler's emits; its other namespaces stay."""
    members = club(server)
    websocket = await joined(server)
    await websocket.send('40/custom,{"as":"banned"}')
    assert (await websocket.receive()).startswith('40/custom,{"sid"')
    assert await websocket.receive() == '42/custom,["auth",{"as":"banned"}]'
    assert await websocket.receive() == "41/custom,"
    assert await still_there(websocket)
    assert members.reasons() == ["server disconnect"]
    assert CUSTOM not in server.sio.manager.rooms


@served(namespaces=(Club,))
async def test_a_client_disconnected_in_its_only_connect_handler_is_closed(server: Server) -> None:
    """A later `disconnect` does the same."""
    websocket = await server.websocket()
    await websocket.receive()
    await websocket.send('40{"as":"banned"}')
    assert (await websocket.receive()).startswith('40{"sid"')
    assert (await websocket.receive()).startswith("42")
    assert await websocket.receive() == "41"
    assert await websocket.receive() == Closed(1000)


@served(namespaces=(Echo, Club))
async def test_a_client_that_is_disconnected_and_refused_is_refused(server: Server) -> None:
    """It never joined, so it gets only the refusal."""
    members = club(server)
    websocket = await joined(server)
    await websocket.send('40/custom,{"as":"banned and refused"}')
    assert await websocket.receive() == '44/custom,{"message":"no"}'
    assert await still_there(websocket)
    assert members.reasons() == []


@served(namespaces=(Echo, Club))
async def test_a_client_can_be_disconnected_while_its_connect_handler_waits(
    server: Server,
) -> None:
    """Any code that knows its sid can do so."""
    members = club(server)
    websocket = await joined(server)
    await websocket.send('40/custom,{"as":"slow"}')
    await until(lambda: members.seen)
    await server.sio.disconnect(members.seen[0][1], namespace=CUSTOM)
    members.gate.set()
    for start in ('40/custom,{"sid"', "42/custom,", "41/custom,"):
        assert (await websocket.receive()).startswith(start)
    assert await still_there(websocket)


@served(namespaces=(Echo, Club))
async def test_a_joining_client_gets_a_disconnect(server: Server) -> None:
    """`Peer.close(disconnect=True)` sends a DISCONNECT before the reply to its CONNECT."""
    members = club(server)
    websocket = await joined(server)
    await websocket.send('40/custom,{"as":"slow"}')
    await until(lambda: members.seen)
    server.sio.peers[websocket.sid].close(disconnect=True)
    assert [await websocket.receive() for _ in range(3)] == ["41", "41/custom,", Closed(1000)]
    members.gate.set()
    await until(lambda: members.reasons() == ["server disconnect"])


class Recorder(Echo):
    """Uses the data that python-socketio keeps for a client until its disconnect handler ends."""

    found: list[Any] = []

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await super().on_connect(sid, environ, auth)
        await self.save_session(sid, {"name": self.namespace})
        await self.enter_room(sid, "room")
        if auth == {"as": "slow"}:
            await asyncio.sleep(0.1)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        for pause in (0, 0.05):
            await asyncio.sleep(pause)
            async with self.session(sid) as session:
                name = session["name"]
            await self.save_session(sid, {"name": name})
            self.found.append(
                (
                    await self.get_session(sid) == {"name": self.namespace},
                    self.server.transport(sid, self.namespace),
                    self.server.get_environ(sid, self.namespace)["REQUEST_METHOD"],
                    set(self.rooms(sid)) == {sid, "room"},
                )
            )


@pytest.mark.parametrize("end", ["reset", "close", "server", "poll", "while joining"])
@served(namespaces=(Recorder, Recorder))
async def test_a_disconnect_handler_has_its_clients_data_until_it_returns(
    server: Server, end: str
) -> None:
    """This holds in each namespace and for each close reason; no data stays afterwards."""
    Recorder.found = []
    transport = "websocket"
    if end == "poll":
        transport = "polling"
        sid = await server.handshake()
        await server.post(sid, "40\x1e40/custom,")
        await server.post(sid, "1")
        for _ in range(2):  # the last packets, which are fetched while the handlers run
            assert (await server.poll(sid)).status == 200
    else:
        websocket = await joined(server)
        await websocket.send("40/custom," + ('{"as":"slow"}' if end == "while joining" else ""))
        await websocket.receive() if end != "while joining" else None
        if end == "close":
            await websocket.leave()
        elif end == "server":
            server.sio.peers[websocket.sid].close()
        else:
            websocket.writer.transport.abort()
    await until(lambda: len(Recorder.found) == 4)
    assert Recorder.found == [(True, transport, "GET", True)] * 4
    await until(lambda: not server.sio.environ)
    assert not server.sio.leaving
    assert not server.sio.manager.clients
