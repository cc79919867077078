"""A failure of one client, listener or timer does not affect the others."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.stores.memory import MemoryStore
from app.stores.redis.subscriptions import Subscriber
from app.transport import Peer
from tests.support.raw_websocket import Closed, frame, plain_client
from tests.support.redis_server import empty_redis
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.socket_server import LOOPS, Echo, Server, run, served
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Told(Echo):
    """Broadcasts each event and each client that leaves."""

    async def on_say(self, sid: str, text: str) -> None:
        await self.emit("said", text)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        await self.emit("left", reason)


def failing(*arguments: Any, **options: Any) -> Any:
    """Replace a function by one that raises."""
    raise RuntimeError("made to fail")


class Broken:
    """An object of which one method raises, and the others work."""

    def __init__(self, inner: Any, method: str) -> None:
        self._inner, self._method = inner, method

    def __getattr__(self, name: str) -> Any:
        return failing if name == self._method else getattr(self._inner, name)


def reset(plain: socket.socket) -> None:
    """Leave as a crashed program: the server gets a RST."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["RST", "FIN"])
@served(namespaces=(Told,), both_loops=True)
async def test_clients_that_leave_during_an_emit_delay_no_other(
    server: Server, leave: Callable[[socket.socket], None]
) -> None:
    """uvloop's write() raises for them, and the server still writes to the clients after them."""
    leavers = [plain_client(server.port) for _ in range(5)]
    await until(lambda: len(server.sio.manager.clients) == 5)
    stayers = [await server.client() for _ in range(5)]
    talker = plain_client(server.port)
    await until(lambda: len(server.sio.manager.clients) == 11)
    for leaver in leavers:
        leave(leaver)
    talker.sendall(frame(0x81, b'42["say","hello"]'))
    for stayer in stayers:
        received = [await asyncio.wait_for(stayer.receive(), 2) for _ in range(6)]
        assert received.count('42["said","hello"]') == 1
        assert sum(packet.startswith('42["left"') for packet in received) == 5
    talker.close()


@pytest.mark.parametrize("method", ["write", "is_closing"])
@served(both_loops=True)
async def test_a_failed_write_closes_its_connection_only(
    server: Server, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The emit continues, and the close reason is a transport error."""
    clients = [await server.client() for _ in range(3)]
    broken: Any = server.sio.engine.connections[clients[0].sid].transport
    broken._outbox._transport = Broken(broken._outbox._transport, method)
    await server.sio.emit("news")
    for client in clients[1:]:
        assert await asyncio.wait_for(client.receive(), 2) == '42["news"]'
    await until(lambda: server.closed)
    assert server.closed == [(clients[0].sid, "transport error")]
    assert "a WebSocket failed and is cut" in caplog.text


@pytest.mark.parametrize("part", ["flush", "send"])
@served(both_loops=True)
async def test_an_emit_reaches_all_but_the_client_that_fails(
    server: Server, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [await server.client() for _ in range(3)]
    websocket: Any = server.sio.engine.connections[clients[0].sid].transport
    broken = websocket._outbox if part == "flush" else websocket
    original = getattr(type(broken), part)

    def fail_once(this: Any, *arguments: Any) -> Any:
        return failing() if this is broken else original(this, *arguments)

    monkeypatch.setattr(type(broken), part, fail_once)
    await server.sio.emit("news")
    for client in clients[1:]:
        assert await asyncio.wait_for(client.receive(), 2) == '42["news"]'
    await until(lambda: server.closed)
    assert server.closed == [(clients[0].sid, "transport error")]


@pytest.mark.parametrize(
    ("transport", "events"), [("websocket", 1), ("websocket", 2), ("polling", 2)]
)
@served()
async def test_a_packet_that_fails_closes_its_connection_only(
    server: Server, transport: str, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await server.client()
    victim: Any = None
    if transport == "websocket":
        victim = await server.client()
        sid = victim.sid
    else:
        sid = await server.handshake()
        await server.post(sid, "40")
    received = Peer.received

    def fail_once(peer: Peer, data: Any) -> None:
        if peer.eio_sid == sid:
            failing()
        received(peer, data)

    monkeypatch.setattr(Peer, "received", fail_once)
    event = '421["ack"]'
    if transport == "polling":
        await server.post(sid, "\x1e".join([event] * events))
    else:
        await victim.send(*[event] * events)
    await until(lambda: server.closed)
    assert server.closed == [(sid, "transport error")]
    await other.send(event)
    assert await other.receive() == "431[]"


@served(namespaces=(Told,))
async def test_a_connection_ends_though_its_transport_cannot_be_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disconnect handlers run, and the other connections close too."""
    clients = [await server.client() for _ in range(3)]
    broken: Any = server.sio.engine.connections[clients[0].sid].transport
    close = type(broken).close

    def fail_once(websocket: Any, *arguments: Any) -> None:
        close(websocket, *arguments)
        if websocket is broken:
            failing()

    monkeypatch.setattr(type(broken), "close", fail_once)
    await server.sio.engine.disconnect()
    assert {sid for sid, _ in server.closed} == {client.sid for client in clients}
    assert not server.sio.manager.clients
    for client in clients:
        assert isinstance(await client.closed(), Closed)


@pytest.mark.parametrize("stop", ["shutdown", "disconnect"])
@served()
async def test_all_connections_are_closed_though_one_fails(
    server: Server, stop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [await server.client() for _ in range(3)]
    broken = server.sio.engine.connections[clients[0].sid]
    close = type(broken).close

    def fail_once(connection: Any, *arguments: Any) -> Any:
        return failing() if connection is broken else close(connection, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(type(broken), "close", fail_once)
        await getattr(server.sio.engine, stop)()
    assert {sid for sid, _ in server.closed} == {client.sid for client in clients[1:]}


@served()
async def test_a_client_leaves_all_its_namespaces_though_one_fails(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await server.client()
    await client.send("40/other,")
    while not (await client.receive()).startswith("42/other"):
        pass
    leave = server.sio._membership.leave

    def fail_once(peer: Peer, namespace: str, *arguments: Any) -> Any:
        return failing() if namespace == "/" else leave(peer, namespace, *arguments)

    monkeypatch.setattr(server.sio._membership, "leave", fail_once)
    await client.leave()
    await until(lambda: server.closed)
    assert [left.namespace for left in server.sio.manager.clients.values()] == ["/"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_failed_check_of_deadlines_cuts_only_its_connection(loop: str, tmp_path: Path) -> None:
    """The sweep of HTTP connections continues, and runs again."""

    async def body() -> None:
        async with serve(tmp_path) as site:
            http = site.app.http_server
            assert http is not None
            http.header_timeout, http.connections._interval = 0.2, 0.05
            port = int(site.url.rpartition(":")[2])
            streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            await until(lambda: len(http.connections) == 4)
            broken = next(iter(http.connections))
            original = type(broken).check
            try:
                type(broken).check = lambda self, now: (
                    failing() if self is broken else original(self, now)
                )
                await until(lambda: not http.connections)
            finally:
                type(broken).check = original
            for _, writer in streams:
                writer.close()

    run(body(), loop=loop)


# Sessions and their connections


async def tabs(site: Site, visitor: Visitor, count: int) -> list[Any]:
    """Open this many sockets of one session."""
    await visitor.incr()
    return [await visitor.socket("websocket") for _ in range(count)]


@pytest.mark.parametrize("part", ["emit", "close"])
async def test_all_sockets_of_an_ended_session_are_closed_though_one_fails(
    site: Site, ann: Visitor, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket closes even if sending it the reason fails."""
    await tabs(site, ann, 3)
    original, calls = getattr(Peer, part), []

    def fail_first(*arguments: Any, **options: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            failing()
        original(*arguments, **options)

    monkeypatch.setattr(Peer, part, fail_first)
    (session_id,) = site.services.connections.session_ids()
    await site.services.sessions.end(session_id, "logout")
    left = 0 if part == "emit" else 1
    assert len(site.services.connections) == left
    assert len(calls) == 3
    monkeypatch.undo()


async def test_all_connections_are_drained_though_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await tabs(site, ann, 3)
        original, calls = Peer.close, []

        def fail_first(*arguments: Any, **options: Any) -> None:
            calls.append(arguments)
            if len(calls) == 1:
                failing()
            original(*arguments, **options)

        monkeypatch.setattr(Peer, "close", fail_first)
        await site.services.connections.close_all()
        assert len(site.services.connections) == 1
        monkeypatch.undo()


async def test_an_exception_in_a_listener_does_not_stop_the_others(
    site: Site, ann: Visitor
) -> None:
    """They hear of connections, disconnections, sign-ins and ended sessions."""
    services, heard = site.services, []
    services.connections.on_change[:0] = [failing]
    services.on_login[:0] = [failing]
    services.sessions.on_end[:0] = [failing]
    services.connections.on_change.append(lambda session_id: heard.append("change"))
    services.on_login.append(lambda session: heard.append("login"))
    services.sessions.on_end.append(lambda *arguments: heard.append("end"))
    await ann.sign_up("ann")
    await ann.socket("websocket")
    await ann.post("/logout")
    await until(lambda: not services.connections)
    assert set(heard) == {"change", "login", "end"}


@pytest.mark.parametrize("part", ["end", "limit_reached"])
async def test_all_expired_sessions_end_though_one_fails(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next batch ends too, and the callback keeps running."""
    store = MemoryStore()
    monkeypatch.setattr("app.sessions.periodic_expiry._BATCH_SIZE", 2)
    async with serve(tmp_path, store=store, expiry_interval=3600.0) as site:
        visitors = [Visitor(site.url) for _ in range(5)]
        for visitor in visitors:
            await tabs(site, visitor, 1)
        ids = list(site.services.connections.session_ids())
        sessions = site.services.sessions
        owner: Any = sessions if part == "end" else sessions.lifetimes
        original = getattr(owner, part)

        def fail_first(subject: Any, *arguments: Any) -> Any:
            if subject == ids[0] or getattr(subject, "id", "") == ids[0]:
                failing()
            return original(subject, *arguments) if part == "end" else "expired"

        monkeypatch.setattr(owner, part, fail_first)
        monkeypatch.setattr(
            sessions.lifetimes, "limit_reached", lambda record: "idle", raising=True
        )
        if part == "limit_reached":
            monkeypatch.setattr(sessions.lifetimes, "limit_reached", fail_first)
        await site.services.expiry.check(ids)
        assert list(site.services.connections.session_ids()) == ids[:1]
        monkeypatch.undo()
        for visitor in visitors:
            await visitor.__aexit__()


async def test_a_failed_metric_leaves_the_others_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        monkeypatch.setattr(
            site.services.metrics, "_parts", [failing, *site.services.metrics._parts]
        )
        status, text = await ann.get("/metrics")
        assert status == 200
        assert "latchkey_connections{" in text
        assert "latchkey_loop_lag_seconds_count" in text


# Redis


async def test_an_exception_in_a_redis_listener_does_not_stop_the_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The process reconnects, and receives later messages."""
    empty_redis()
    async with sites(tmp_path) as (one, two):
        assert one.app.cluster is not None
        client = one.app.cluster.client
        heard: list[bytes] = []

        def hear(message: bytes) -> None:
            heard.append(message)
            if message == b"1":
                failing()

        failing_subscriber = Subscriber({"test": hear}, connected=failing, disconnected=failing)
        client._subscriptions._subscribers.insert(0, failing_subscriber)
        client.subscribe(Subscriber({"test": hear}))
        connection = client._connection
        assert connection is not None
        connection.abort()
        await until(lambda: client._connection not in (connection, None))
        other = two.app.cluster
        assert other is not None
        for number in (b"1", b"2"):
            other.client.publish("test", number)
        await until(lambda: heard == [b"1", b"2"])
    assert "a listener to a new connection failed" in caplog.text
    assert "a listener to a lost connection failed" in caplog.text


async def test_a_failed_item_of_a_cluster_message_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has several sessions and users; one of them fails."""
    async with sites(tmp_path) as (one, two):
        heard: list[str] = []

        def fail_first(item: str) -> None:
            heard.append(item)
            if item.endswith("1"):
                failing()

        monkeypatch.setattr(one.services.device_watchers, "connections_changed", fail_first)
        monkeypatch.setattr(one.services.device_watchers, "changed", fail_first)
        assert two.app.cluster is not None
        told = b'[["s1","s2"],["u1","u2"]]'
        two.app.cluster.client.publish("latchkey:devices", told)
        await until(lambda: heard == ["s1", "s2", "u1", "u2"])


async def test_the_loops_of_the_redis_parts_survive_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process still writes its presence and counts the other processes."""
    monkeypatch.setattr("app.cluster.cluster._COUNT_INTERVAL", 0.05)
    async with sites(tmp_path) as (one, two), Visitor(one.url) as ann:
        shared = one.app.cluster
        assert shared is not None
        presence: Any = shared._presence
        written: list[str] = []
        counted: list[str] = []
        write, count = presence._write, shared.rooms.count_others

        async def fail_to_write() -> None:
            written.append("")
            if len(written) == 1:
                failing()
            await write()

        async def fail_to_count() -> None:
            counted.append("")
            if len(counted) == 1:
                failing()
            await count()

        monkeypatch.setattr(presence, "_write", fail_to_write)
        monkeypatch.setattr(shared.rooms, "count_others", fail_to_count)
        await ann.incr()
        await ann.socket("websocket")
        (session_id,) = one.services.connections.session_ids()
        assert two.app.cluster is not None
        elsewhere: Any = two.app.cluster._presence

        async def seen() -> bool:
            presence._dirty.set()
            return bool(await elsewhere.transports([session_id]))

        await until(seen)
        await until(lambda: len(counted) > 2)
