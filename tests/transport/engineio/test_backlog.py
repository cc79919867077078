"""Data that waits for a client: a client that reads gets all of it, and others are closed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.sockets.base_namespace import BaseNamespace
from tests.support.raw_websocket import HANDSHAKE, Closed, frame, plain_client, request
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until

SLOW = "client reads too slowly"


class Library(Echo):
    """Emits as many books as it is asked for, and records how much data waited."""

    drained = BaseNamespace.drained
    most = 0
    results: list[bool]
    reasons: list[str]

    def connection(self, sid: str) -> Any:
        return self.server.engine.connections[self.server.manager.eio_sid_from_sid(sid, "/")]

    async def on_connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        for n in range((auth or {}).get("count", 0)):
            await self.emit("book", [n, "x" * auth["size"]], to=sid)

    async def on_lend(self, sid: str, count: int, size: int) -> str:
        for n in range(count):
            await self.emit("book", [n, "x" * size], to=sid)
        return "all"

    async def on_lend_slowly(self, sid: str, count: int, size: int) -> str:
        transport = self.connection(sid).transport
        for n in range(count):
            await self.emit("book", [n, "x" * size], to=sid)
            Library.most = max(Library.most, transport.waiting())
            Library.results.append(await self.drained(sid))
            if not Library.results[-1]:
                break
        return "all"

    async def on_disconnect(self, sid: str, reason: str) -> None:
        Library.reasons.append(reason)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Library.most, Library.results, Library.reasons = 0, [], []


def number(packet: str) -> int | None:
    """Return the number of a book; None for another packet."""
    return json.loads(packet[2:])[1][0] if packet.startswith('42["book"') else None


async def read_polls(server: Server, sid: str) -> AsyncIterator[str]:
    """Poll repeatedly; answer pings."""
    while True:
        for packet in (await server.poll(sid)).body.decode().split("\x1e"):
            if packet == "2":
                await server.post(sid, "3")
            yield packet


async def books(server: Server, transport: str, join: str, *events: str) -> AsyncIterator[str]:
    """Join by one transport, send these events, and yield the packets that come."""
    if transport == "websocket":
        websocket = await server.websocket()
        await websocket.receive()
        await websocket.send(join, *events)
        while not isinstance(packet := await websocket.receive(), Closed):
            yield packet
    else:
        sid = await server.handshake()
        await server.post(sid, "\x1e".join([join]))
        if events:
            await server.post(sid, "\x1e".join(events))
        async for packet in read_polls(server, sid):
            yield packet


async def expect_books(packets: AsyncIterator[str], count: int) -> None:
    """Read until all books have arrived, each once and in order."""
    expected = 0
    async for packet in packets:
        found = number(packet)
        if found is not None:
            assert found == expected
            expected += 1
        if expected == count:
            return
    raise AssertionError(f"only {expected} of {count} came")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(("count", "size"), [(1, 1_100_000), (11, 100_000), (100, 100_000)])
@served(namespaces=(Library,), both_loops=True)
async def test_a_client_that_reads_gets_all_that_one_event_emits(
    server: Server, transport: str, count: int, size: int
) -> None:
    """It may be much more than --send-buffer."""
    lend = json.dumps(["lend", count, size])
    await expect_books(books(server, transport, "40", f"42{lend}"), count)
    assert not server.closed


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(namespaces=(Library,), both_loops=True)
async def test_a_client_that_reads_gets_all_that_its_connect_handler_emits(
    server: Server, transport: str
) -> None:
    await expect_books(books(server, transport, '40{"count":20,"size":300000}'), 20)
    assert not server.closed


async def read_slowly(plain: socket.socket, size: int, step: int, pause: float) -> bytes:
    """Read so many bytes in steps, with a pause after each."""
    plain.setblocking(False)
    data = bytearray()
    while len(data) < size:
        try:
            piece = plain.recv(step)
        except BlockingIOError:
            piece = b""
        else:
            assert piece, "closed before everything had come"
        data += piece
        await asyncio.sleep(pause)
    return bytes(data)


@served(
    namespaces=(Library,),
    both_loops=True,
    send_timeout=0.2,
    ping_interval=0.1,
    ping_timeout=0.2,
    events_per_second=0,
)
async def test_a_client_that_reads_a_little_in_time_stays(server: Server) -> None:
    """It reads something within each --send-timeout, and its ping waits behind megabytes.

    The kernel buffers megabytes, so the server's own buffer may not change for a second.
    """
    plain = plain_client(server.port, receive_buffer=32_768)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend",8,1000000]'))
    began = time.monotonic()
    data = await read_slowly(plain, 700_000, 10_000, 0.02)
    assert time.monotonic() - began > 1
    assert b'42["book",[0,"x' in data
    assert not server.closed
    plain.close()


@served(namespaces=(Library,), both_loops=True, send_timeout=0.3)
@pytest.mark.attack("A36")
async def test_a_client_that_reads_nothing_is_closed_with_one_log_line(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend",50,100000]'))
    await until(lambda: Library.reasons)
    assert Library.reasons == [SLOW]
    lines = [record.message for record in caplog.records if "slowly" in record.message]
    assert len(lines) == 1
    sid, _, text = lines[0].partition(": ")
    assert sid == server.opened[0]
    assert text.startswith(f"closed: {SLOW} waiting=")
    assert int(text.rpartition("=")[2].split()[0]) > 200_000
    plain.close()


@served(namespaces=(Library,), send_timeout=0.3, send_buffer=100_000)
async def test_a_client_that_reads_one_poll_slowly_stays(server: Server) -> None:
    """A response that is still being sent counts as progress."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, '42["lend",8,1000000]')
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
    plain.connect(("127.0.0.1", server.port))
    plain.sendall(f"GET {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    began = time.monotonic()
    await read_slowly(plain, 600_000, 10_000, 0.02)
    assert time.monotonic() - began > 1
    assert not server.closed
    plain.close()


# Waiting


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@served(namespaces=(Library,), both_loops=True, send_buffer=200_000)
async def test_a_handler_that_awaits_drained_keeps_the_backlog_small(
    server: Server, transport: str
) -> None:
    """At most --send-buffer and one message wait, and all messages arrive."""
    lend = json.dumps(["lend_slowly", 200, 50_000])
    await expect_books(books(server, transport, "40", f"42{lend}"), 200)
    assert Library.most < 300_000
    await until(lambda: len(Library.results) == 200)
    assert set(Library.results) == {True}


@served(namespaces=(Library,), both_loops=True, send_timeout=0.3)
async def test_drained_is_false_once_the_client_is_closed_as_slow(server: Server) -> None:
    """It returns within --send-timeout."""
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend_slowly",500,100000]'))
    await until(lambda: False in Library.results)
    assert Library.results[-1] is False
    assert Library.reasons == [SLOW]
    plain.close()


@served(namespaces=(Library,))
async def test_drained_is_false_for_an_absent_client(server: Server) -> None:
    namespace = server.sio.namespace_handlers["/"]
    assert not await namespace.drained("nobody")
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend_slowly",500,100000]'))
    await until(lambda: Library.most > 200_000)
    plain.close()
    await until(lambda: False in Library.results)


@served(namespaces=(Library,))
async def test_drained_does_not_wait_for_a_client_that_reads(server: Server) -> None:
    """It returns without a turn of the loop."""
    plain = plain_client(server.port)
    await until(lambda: server.sio.manager.clients)
    namespace = server.sio.namespace_handlers["/"]
    (sid,) = server.sio.manager.clients
    for _ in range(10):
        await namespace.emit("small", to=sid)
        waiting = namespace.drained(sid)
        with pytest.raises(StopIteration) as ended:
            waiting.send(None)
        assert ended.value.value is True
    plain.close()


@served(namespaces=(Library,), send_buffer=100_000)
async def test_drained_waits_for_the_websocket_after_an_upgrade(server: Server) -> None:
    """The WebSocket sends the packets that no poll has fetched."""
    sid = await server.handshake()
    await server.post(sid, "40")
    await server.poll(sid)
    await server.post(sid, '42["lend_slowly",30,50000]')
    await until(lambda: Library.most > 100_000)
    websocket = await server.websocket(f"{HANDSHAKE}websocket&sid={sid}")
    await websocket.send("2probe")
    assert await websocket.receive() == "3probe"
    await websocket.send("5")
    found = [number(await websocket.receive()) for _ in range(30)]
    assert found == list(range(30))
    await until(lambda: len(Library.results) == 30)
    assert set(Library.results) == {True}


# Closing


@served(namespaces=(Library,), both_loops=True)
async def test_a_closed_client_that_reads_slowly_gets_all_earlier_packets(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The close frame follows them, even after much longer than LINGER."""
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 0.1)
    plain = plain_client(server.port, receive_buffer=65_536)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend",8,1000000]'))
    await until(lambda: server.sio.engine.connections[server.opened[0]].transport.waiting() > 10**6)
    server.sio.peers[server.opened[0]].close()
    began = time.monotonic()
    await read_slowly(plain, 500_000, 10_000, 0.02)
    assert time.monotonic() - began > 0.8
    rest = bytearray()
    while piece := await asyncio.get_running_loop().sock_recv(plain, 10**6):
        rest += piece
    assert len(rest) > 7_500_000 - 66_000
    assert rest.endswith(b'"]]\x88\x02\x03\xe8')
    plain.close()
    await until(lambda: not server.sio.engine.ending)


@served(namespaces=(Library,), both_loops=True, send_timeout=0.2)
async def test_a_closed_client_that_reads_nothing_is_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 0.05)
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend",8,1000000]'))
    await until(lambda: server.sio.engine.connections[server.opened[0]].transport.waiting() > 10**6)
    server.sio.peers[server.opened[0]].close()
    assert server.sio.engine.ending
    await until(lambda: not server.sio.engine.ending)
    plain.close()


@served(namespaces=(Library,), both_loops=True)
async def test_a_closed_client_that_reads_too_slowly_is_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 0.05)
    monkeypatch.setattr("app.transport.engineio.linger.LONGEST_LINGER", 0.5)
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    plain.sendall(frame(0x81, b'42["lend",8,1000000]'))
    await until(lambda: server.sio.engine.connections[server.opened[0]].transport.waiting() > 10**6)
    server.sio.peers[server.opened[0]].close()
    reading = asyncio.ensure_future(read_slowly(plain, 10**9, 5_000, 0.02))
    await until(lambda: not server.sio.engine.ending)
    reading.cancel()
    plain.close()


# Pings of clients


@pytest.mark.parametrize("rate", [0, 200])
@served(
    both_loops=True, namespaces=(Library,), ping_interval=0.2, ping_timeout=0.2, send_timeout=0.2
)
async def test_pings_of_a_client_that_never_reads_end_in_one_close(
    server: Server, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few of the 20,000 pings are answered, and the server closes the socket."""
    monkeypatch.setattr("app.transport.engineio.linger.LINGER", 0.1)
    engine = server.sio.engine
    engine.limited, engine.refill = rate > 0, 1 / rate if rate else 0.0
    engine.most_owed = 2.0 - engine.refill
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    (connection,) = engine.connections.values()
    plain.setblocking(False)
    pings = frame(0x89, b"p" * 100) * 20_000
    sent = most = 0
    while not server.closed:
        with contextlib.suppress(BlockingIOError):
            sent += plain.send(pings[sent : sent + 65_536]) if sent < len(pings) else 0
        most = max(most, connection.transport.waiting())
        await asyncio.sleep(0.005)
    assert most < 500_000
    await until(lambda: not engine.ending and not engine.connections)
    assert server.closed[0][1] in ("ping timeout", SLOW)
    assert len(server.closed) == 1
    assert Library.reasons == [server.closed[0][1]]
    plain.close()


@served()
async def test_other_requests_are_answered_while_a_client_is_slow(server: Server) -> None:
    """The backlog of one client does not delay the others."""
    plain = plain_client(server.port, receive_buffer=4096)
    await until(lambda: server.sio.manager.clients)
    for _ in range(100):
        await server.sio.emit("news", "x" * 100_000)
    assert (await request(server.port, "GET", HANDSHAKE + "polling")).status == 200
    plain.close()
