"""The limits on what a client can make the server keep, wait for, compute and log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import time
from pathlib import Path
from typing import Any

import pytest
import socketio
from socketio.async_pubsub_manager import AsyncPubSubManager

from app.transport import Rooms
from app.transport.engineio.connection import MAX_EVENTS_IN_HAND, Connection
from app.transport.socketio.peer import BYTES_IN_HAND, Peer
from tests.support.raw import Raw
from tests.support.raw_websocket import HANDSHAKE, Closed, frame
from tests.support.site import serve
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until


class Sleeper(Echo):
    running = most = done = 0
    gate: asyncio.Event

    async def on_sleep(self, sid: str, *data: Any) -> None:
        Sleeper.running += 1
        Sleeper.most = max(Sleeper.most, Sleeper.running)
        await self.gate.wait()
        Sleeper.running -= 1
        Sleeper.done += 1

    async def on_nap(self, sid: str) -> None:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(namespaces=(Sleeper,))
@pytest.mark.attack("A35")
async def test_reading_pauses_while_too_many_events_run(server: Server, transport: str) -> None:
    """No event is lost. In python-socketio 50,000 slow events are 50,000 tasks."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    events = ['42["sleep"]'] * 1000
    websocket: Any = None
    if transport == "websocket":
        websocket = await server.client()
        await websocket.send(*events)
    else:
        sid = await server.handshake()
        assert (await server.post(sid, "\x1e".join(["40", *events]))).body == b"ok"
    await until(lambda: Sleeper.running)
    await asyncio.sleep(0.1)
    assert Sleeper.running == MAX_EVENTS_IN_HAND
    Sleeper.gate.set()
    await until(lambda: Sleeper.done == 1000)
    assert Sleeper.most == MAX_EVENTS_IN_HAND
    if transport == "websocket":
        await websocket.send('421["ack"]')
        while (packet := await websocket.receive()) != "431[]":
            assert not isinstance(packet, Closed)


class OrderedSleeper(Sleeper):
    ordered = True


PLACEHOLDER = '{"_placeholder":true,"num":0}'


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("kind", ["text", "binary"])
@served(namespaces=(Sleeper,), max_message_size=1_000_000, events_per_second=0)
async def test_a_large_message_counts_as_several_running_events(
    server: Server, transport: str, kind: str
) -> None:
    """The server keeps its decoded data as long as its handler waits."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    size = MAX_EVENTS_IN_HAND // 4 * BYTES_IN_HAND
    packets: list[str | bytes] = [f'42["sleep","{"x" * size}"]']
    if kind == "binary":
        packets = [f'451-["sleep",{PLACEHOLDER}]', b"x" * size]
    if transport == "websocket":
        websocket = await server.client()
        sending = asyncio.create_task(websocket.send(*packets * 8))
    else:
        body = "\x1e".join(
            packet if isinstance(packet, str) else "b" + base64.b64encode(packet).decode()
            for packet in packets
        )
        sid = await server.handshake()
        await server.post(sid, "40")

        async def post_all() -> None:
            for _ in range(8):
                await server.post(sid, body)

        sending = asyncio.create_task(post_all())
    await until(lambda: Sleeper.running == 4)
    (connection,) = server.sio.engine.connections.values()
    await until(lambda: connection.busy)
    Sleeper.gate.set()
    await sending
    await until(lambda: Sleeper.done == 8)
    assert Sleeper.most == 4
    assert not connection.busy


@served(namespaces=(OrderedSleeper,), max_message_size=1_000_000, events_per_second=0)
async def test_the_queue_of_an_ordered_namespace_is_bounded_in_bytes(
    server: Server,
) -> None:
    """Large messages count as several events there, too."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    websocket = await server.client()
    (connection,) = server.sio.engine.connections.values()
    size = MAX_EVENTS_IN_HAND // 4 * BYTES_IN_HAND
    sending = asyncio.create_task(websocket.send(*[f'42["sleep","{"x" * size}"]'] * 8))
    await until(lambda: connection.busy)
    assert connection._in_hand == 4 * (1 + size // BYTES_IN_HAND)
    Sleeper.gate.set()
    await sending
    await until(lambda: Sleeper.done == 8)
    await until(lambda: not connection._in_hand)


@served(namespaces=(Sleeper,))
async def test_a_busy_connection_can_be_upgraded(server: Server) -> None:
    """The server reads the probe while events run; then reading the WebSocket pauses."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    sid = await server.handshake()
    await server.post(sid, "\x1e".join(["40", *['42["sleep"]'] * MAX_EVENTS_IN_HAND]))
    assert (await server.post(sid, '422["ack"]')).body == b"ok"  # it waits for its turn
    await until(lambda: Sleeper.running == MAX_EVENTS_IN_HAND)
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe", "5", '421["ack"]')
    assert await websocket.receive() == "3probe"
    await until(lambda: server.upgraded == [sid])
    while not (packet := await websocket.receive()).startswith("42"):
        pass
    assert packet == '42["auth",{}]'
    assert await websocket.quiet()
    Sleeper.gate.set()


@served(namespaces=(Sleeper,))
async def test_a_stop_waits_for_handlers_of_closed_connections(server: Server) -> None:
    """They may still use the store. A handler that runs for too long is left behind."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    engine = server.sio.engine
    for _ in range(2):
        sid = await server.handshake()
        await server.post(sid, "\x1e".join(["40", '42["nap"]', '42["sleep"]', '42["sleep"]']))
    assert Sleeper.running == 4
    await engine.disconnect()
    await asyncio.wait_for(server.sio.finish(0.05), 2)
    assert Sleeper.done == 0
    finish = asyncio.create_task(server.sio.finish(15))
    await asyncio.sleep(0.05)
    assert not finish.done()
    Sleeper.gate.set()
    await asyncio.wait_for(finish, 5)
    assert Sleeper.done == 4
    assert not server.sio.tasks.waiting()


@served(namespaces=(Sleeper,))
async def test_a_stop_waits_for_disconnect_handlers(server: Server) -> None:
    """They begin after their connection has closed."""

    class Lingerer(Sleeper):
        async def on_disconnect(self, sid: str, reason: str) -> None:
            await self.on_sleep(sid)

    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    server.sio.register_namespace(Lingerer("/lingerer"))
    sid = await server.handshake()
    await server.post(sid, "40/lingerer")
    engine = server.sio.engine
    await engine.disconnect()
    finish = asyncio.create_task(server.sio.finish(15))
    await asyncio.sleep(0.05)
    assert Sleeper.running == 1
    assert not finish.done()
    Sleeper.gate.set()
    await asyncio.wait_for(finish, 5)
    assert not server.sio.tasks.waiting()


@served(namespaces=(Sleeper,))
async def test_closing_a_connection_drops_its_queue(server: Server) -> None:
    """Events that have not begun are dropped; a POST that waits for room returns."""
    Sleeper.running = Sleeper.most = Sleeper.done = 0
    Sleeper.gate = asyncio.Event()
    websocket = await server.client()
    await websocket.send(*['42["sleep"]'] * 1000)
    sid = await server.handshake()
    post = asyncio.create_task(server.post(sid, "\x1e".join(["40", *['42["sleep"]'] * 1000])))
    await until(lambda: Sleeper.running == 2 * MAX_EVENTS_IN_HAND)
    server.sio.peers[websocket.sid].close()
    server.sio.peers[sid].close()
    Sleeper.gate.set()
    await post
    await asyncio.sleep(0.05)
    assert Sleeper.done == 2 * MAX_EVENTS_IN_HAND


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(events_per_second=50, ping_interval=0.5, ping_timeout=5)
@pytest.mark.attack("A35")
async def test_a_flood_is_slowed_to_the_rate_after_its_burst(
    server: Server, transport: str
) -> None:
    """The bucket holds twice the rate; no event is lost, and other clients do not wait."""
    other = await server.client()
    began = time.monotonic()
    events = [f'42{n}["ack"]' for n in range(150)]
    websocket: Any = None
    if transport == "websocket":
        websocket = await server.client()
        await websocket.send(*events)
        for n in range(95):
            while (packet := await websocket.receive()) == "2":
                pass
            assert packet == f"43{n}[]"
        assert time.monotonic() - began < 1.8  # at 50 events per second it would be 1.9 s
        await other.send('421["ack"]')
        assert await asyncio.wait_for(other.receive(), 0.9) == "431[]"
        for n in range(95, 150):
            while (packet := await websocket.receive()) == "2":
                pass
            assert packet == f"43{n}[]"
    else:
        sid = await server.handshake()
        assert (await server.post(sid, "\x1e".join(["40", *events]))).body == b"ok"
        assert time.monotonic() - began < 1.8  # at 50 events per second it would be 1.9 s
        acks: list[bytes] = []
        pong: asyncio.Task[Any] | None = None
        while len(acks) < 150:
            packets = (await server.poll(sid)).body.split(b"\x1e")
            if b"2" in packets and (pong is None or pong.done()):  # one POST at a time
                pong = asyncio.create_task(server.post(sid, "3"))
            acks += [packet for packet in packets if packet.startswith(b"43")]
        assert acks == [b"43%d[]" % n for n in range(150)]
        assert pong is not None
        assert (await pong).body == b"ok"
    assert 0.8 < time.monotonic() - began < 2.8  # at 50 events per second it would be 3 s


@served(events_per_second=50)
async def test_a_bucket_holds_the_events_of_two_seconds(server: Server) -> None:
    """A pause adds no more than that; a half-empty bucket fills at the rate."""
    connection = server.sio.engine.connections[(await server.client()).sid]
    await asyncio.sleep(0.3)
    began = time.monotonic()
    for _ in range(50):
        connection.bucket.spend()
    await asyncio.sleep(0.2)
    spent = 0
    while not connection.bucket.empty:
        connection.bucket.spend()
        spent += 1
    assert 59 <= spent <= 51 + 50 * (time.monotonic() - began)  # the bucket was half full
    assert connection.busy
    await until(lambda: not connection.busy)


@served(namespaces=(Sleeper,), events_per_second=50)
async def test_a_flood_of_slow_events_is_slowed_to_the_rate(server: Server) -> None:
    """The end of one event does not resume reading."""
    websocket = await server.client()
    began = time.monotonic()
    await websocket.send(*[f'42{n}["nap"]' for n in range(150)])
    for n in range(150):
        assert await websocket.receive() == f"43{n}[]"
    assert time.monotonic() - began > 0.8


@served(ping_interval=0.2, ping_timeout=0.2)
async def test_a_big_message_in_tiny_pieces_is_cheap(server: Server) -> None:
    """A ping between the pieces is answered."""
    websocket = await server.client()
    data = frame(0x01, b'421["ack","') + frame(0x89, b"!")
    data += frame(0x00, b"x" * 50_000) + frame(0x80, b'"]')
    for at in range(0, len(data), 997):
        await websocket.send_raw(data[at : at + 997])
        await asyncio.sleep(0)
    assert await websocket.receive() == (0xA, b"!")
    assert await websocket.receive() == '431["' + "x" * 50_000 + '"]'


@served()
async def test_a_missing_post_body_closes_the_connection(server: Server, monkeypatch: Any) -> None:
    """An aborted POST does the same."""
    monkeypatch.setattr("app.transport.engineio.handler.BODY_TIMEOUT", 0.1)
    sid = await server.handshake()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await until(lambda: server.closed)


@served()
async def test_a_flood_after_the_close_is_cut_off(server: Server, monkeypatch: Any) -> None:
    """The server first drops input, so that the close code arrives, and then stops reading."""
    monkeypatch.setattr("app.transport.engineio.linger.DRAIN", 100_000)
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 60.0)
    websocket = await server.websocket()
    await websocket.send("4x")
    await until(lambda: server.closed)
    await websocket.send_raw(b"x" * 50_000)
    await asyncio.sleep(0.05)
    assert server.sio.engine.ending
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            await websocket.send_raw(b"x" * 10_000)
            await asyncio.sleep(0)
    await until(lambda: not server.sio.engine.ending)


@served()
@pytest.mark.attack("A32")
async def test_invalid_packets_of_many_clients_are_logged_in_few_lines(
    server: Server, caplog: Any
) -> None:
    """The log has a few lines a second, and then only their number."""
    for _ in range(50):
        websocket = await server.websocket()
        await websocket.send("4x")
        await websocket.closed()
    lines = [record for record in caplog.records if record.name == "app.transport"]
    assert 0 < len(lines) <= 20
    assert not any(record.exc_info for record in lines)


@served()
async def test_no_object_of_a_closed_connection_remains(server: Server) -> None:
    """Look in the indexes and in all objects of the garbage collector."""
    peer: Any = None
    for _ in range(30):
        websocket = await server.client()
        peer = server.sio.peers[websocket.sid]
        await server.sio.enter_room(peer.clients["/"], "room")
        await server.sio.emit("question", to=peer.clients["/"], callback=print)
        await websocket.leave()
        sid = await server.handshake()
        await server.post(sid, "40\x1e1")
    del peer
    await until(lambda: len(server.closed) == 60)
    sio = server.sio
    await until(lambda: not sio.environ and not sio.engine.last_polls)
    assert not sio.engine.connections
    assert not sio.manager.clients
    assert not sio.manager.rooms
    assert not sio.manager.callbacks
    gc.collect()
    things = gc.get_objects()
    connections = [thing for thing in things if isinstance(thing, Connection)]
    assert not [connection for connection in connections if connection._engine is sio.engine]
    assert not [thing for thing in things if isinstance(thing, Peer) and thing._server is sio]


def test_the_cost_of_leaving_is_independent_of_the_number_of_clients() -> None:
    """The manager looks only at the client's own rooms, and iterates over no index."""

    class Watched(dict):  # type: ignore[type-arg]
        touched = 0

        def __iter__(self) -> Any:
            Watched.touched += 1
            return super().__iter__()

        def items(self) -> Any:
            Watched.touched += 1
            return super().items()

        def copy(self) -> Any:
            Watched.touched += 1
            return super().copy()

    async def body() -> None:
        rooms = Rooms()
        sio = socketio.AsyncServer(async_mode="tornado", client_manager=rooms)
        assert sio.manager is rooms
        rooms.rooms = Watched({"/": Watched()})
        sids = [await rooms.pre_connect(f"e{n}", "/") for n in range(200)]
        for n, sid in enumerate(sids):
            rooms.basic_enter_room(sid, "/", f"room {n}")
        Watched.touched = 0
        for sid in sids:
            rooms.basic_disconnect(sid, "/")
        assert Watched.touched == 0
        assert not rooms.clients
        assert "/" not in rooms.rooms

    asyncio.run(body())


def test_a_redis_manager_can_use_the_same_rooms() -> None:
    """The index is a base class of python-socketio's publishing managers."""

    class PublishedRooms(AsyncPubSubManager, Rooms):
        async def _publish(self, data: Any) -> None:
            published.append(data["method"])

    published: list[str] = []

    async def body() -> None:
        rooms = PublishedRooms()
        sio = socketio.AsyncServer(async_mode="tornado", client_manager=rooms)
        sio.peers = {}
        sid = await rooms.connect(await rooms.pre_connect("e", "/"), "/")
        await rooms.enter_room(sid, "/", "room")
        assert rooms.get_rooms(sid, "/") == [sid, "room"]
        await rooms.emit("event", {}, "/", room="room")
        await rooms.disconnect(sid, "/", ignore_queue=True)
        assert not rooms.clients

    asyncio.run(body())
    assert published == ["emit"]


@served(ping_interval=0.1, ping_timeout=0.1)
async def test_many_heartbeats_share_one_timer(server: Server) -> None:
    """The loop has one timer for any number of connections."""
    loop = asyncio.get_running_loop()
    for _ in range(40):
        await server.handshake()
    wheel = server.sio.engine.wheel
    scheduled = [handle for handle in loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    ours = [handle for handle in scheduled if handle._callback == wheel._alarm._ring]
    assert len(ours) == 1
    await until(lambda: len(server.closed) == 40)
    assert {reason for _, reason in server.closed} == {"ping timeout"}


@pytest.mark.attack("A39")
async def test_a_flood_of_pings_is_slowed_down(tmp_path: Path) -> None:
    """At 10 events a second and bursts of 20, the server answers few of 2,000 pings."""
    async with serve(tmp_path, events_per_second=10) as site, Raw(site.url) as raw:
        assert (await raw.websocket()).status == 101
        await raw.receive()
        raw.send("40")
        await raw.receive()
        ping = b"\x89\x81\0\0\0\0p"
        raw.writer.write(ping * 2000)
        pongs = 0
        try:
            async with asyncio.timeout(1):
                while await raw.reader.readexactly(3) == b"\x8a\x01p":
                    pongs += 1
        except TimeoutError:
            pass
        assert pongs < 100
