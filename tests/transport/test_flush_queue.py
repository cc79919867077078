"""Answers to several clients in one turn of the loop are written one right after the other."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from app.transport import flush_queue
from app.transport.engineio.websocket_reader import Reader
from app.transport.flush_queue import FlushQueue
from tests.support.raw_websocket import frame
from tests.support.recorded import Recorded
from tests.support.site import Site
from tests.support.socket_server import Echo, Server, served
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Named:
    """A writer of the queue that notes when it is flushed."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def flush(self) -> None:
        if self.name == "broken":
            raise RuntimeError("made to fail")
        self.notes.append(self.name)

    def fail(self) -> None:
        self.notes.append(f"{self.name} fails")


async def test_writers_are_flushed_once_at_the_end_of_the_turn() -> None:
    """One that fails keeps no other from it."""
    notes: list[str] = []
    queue = FlushQueue()
    for name in ("first", "broken", "last"):
        queue.add(Named(name, notes))
    assert notes == []
    await asyncio.sleep(0)
    assert notes == ["first", "broken fails", "last"]
    await asyncio.sleep(0.01)
    assert len(notes) == 3


async def test_a_writer_that_waits_for_a_millisecond_is_late() -> None:
    notes: list[str] = []
    queue = FlushQueue()
    queue.flush_if_late()
    queue.add(Named("first", notes))
    time.sleep(0.002)  # a handler that takes long
    queue.add(Named("second", notes))
    queue.flush_if_late()
    assert notes == ["first", "second"]
    await asyncio.sleep(0.01)
    assert len(notes) == 2


async def test_a_held_queue_waits_for_its_owner() -> None:
    notes: list[str] = []
    queue = FlushQueue()
    queue.held = True
    queue.add(Named("first", notes))
    await asyncio.sleep(0.01)
    assert notes == []
    queue.held = False
    queue.flush()
    assert notes == ["first"]
    queue.add(Named("second", notes))
    await asyncio.sleep(0)
    assert notes == ["first", "second"]


class Noted(Echo):
    """Notes each event."""

    notes: list[str]

    async def on_ask(self, sid: str) -> str:
        self.notes.append("event")
        return "answer"


def sockets_of(server: Server, notes: list[str]) -> list[Any]:
    """Return the server's WebSockets, in the order of their clients, their writes noted."""
    sockets: list[Any] = []
    for client in server.clients:
        websocket: Any = server.sio.engine.connections[client.sid].transport
        websocket._outbox._transport = Recorded(websocket._transport, notes)
        sockets.append(websocket)
    return sockets


@pytest.mark.parametrize("wait", [60.0, 0.0], ids=["quick events", "slow events"])
@served(namespaces=(Noted,), both_loops=True)
async def test_answers_leave_after_all_events_of_the_turn(
    server: Server, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the events take long: then the answers to the first do not wait for the others."""
    notes: list[str] = []
    monkeypatch.setattr(Noted, "notes", notes, raising=False)
    monkeypatch.setattr(flush_queue, "_MAX_WAIT", wait)
    clients = [await server.client() for _ in range(3)]
    for websocket in sockets_of(server, notes):
        websocket.data_received(frame(0x81, b'421["ask"]'))
    for client in clients:
        assert await client.receive() == '431["answer"]'
    assert notes == (["event", "write"] * 3 if not wait else ["event"] * 3 + ["write"] * 3)


@served(both_loops=True)
async def test_a_response_does_not_wait_for_slow_events_of_the_same_turn(server: Server) -> None:
    """They share a queue."""
    notes: list[str] = []
    clients = [await server.client() for _ in range(2)]

    def slow(message: Any) -> None:
        time.sleep(0.002)
        notes.append("event")

    for client in clients:
        connection: Any = server.sio.engine.connections[client.sid]
        connection.receiver = SimpleNamespace(received=slow)
        connection.transport.data_received(frame(0x81, b"4"))
    server.sio.engine.unflushed.add(Named("response", notes))
    await until(lambda: notes.count("event") == 2)
    assert notes == ["event", "response", "event"]


async def test_pages_and_events_of_the_program_share_a_queue(site: Site, visitor: Visitor) -> None:
    queue = site.services.socket_server.engine.unflushed
    queue.held = True
    page = asyncio.create_task(visitor.get("/"))
    await until(lambda: queue._writers)
    queue.held = False
    queue.flush()
    assert (await page)[0] == 200


@served(both_loops=True)
async def test_an_event_that_ends_the_program_leaves_no_queue_held(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients are still told of the stop."""

    def exit_now(reader: Reader) -> None:
        raise SystemExit

    notes: list[str] = []
    await server.client()
    (websocket,) = sockets_of(server, notes)
    with monkeypatch.context() as patched:
        patched.setattr(Reader, "read", exit_now)
        websocket._reader.due = True
        server.sio.engine._due.append(websocket._reader)
        with pytest.raises(SystemExit):
            server.sio.engine._read()
    assert not server.sio.engine.unflushed.held


@served(namespaces=(Noted,), both_loops=True)
async def test_an_answer_to_a_client_that_shuts_its_side_leaves(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end may come in the turn of its event."""
    notes: list[str] = []
    monkeypatch.setattr(Noted, "notes", notes, raising=False)
    client = await server.client()
    (websocket,) = sockets_of(server, notes)
    websocket.data_received(frame(0x81, b'421["ask"]'))
    if not websocket.eof_received():  # as a loop does
        websocket._transport.close()
    assert await client.receive() == '431["answer"]'
    assert notes == ["event", "write"]


@served(both_loops=True)
async def test_a_client_whose_events_cannot_be_read_is_cut_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are answered at once, and emits of the next turn leave."""
    clients = [await server.client() for _ in range(3)]
    sockets = sockets_of(server, [])
    read = Reader.read

    def fail_once(reader: Reader) -> None:
        if reader is sockets[0]._reader:
            raise RuntimeError("made to fail")
        read(reader)

    with monkeypatch.context() as patched:
        patched.setattr(Reader, "read", fail_once)
        for websocket in sockets:
            websocket.data_received(frame(0x81, b'421["ack"]'))
        for client in clients[1:]:
            assert await client.receive() == "431[]"
    await until(lambda: server.closed)
    assert server.closed == [(clients[0].sid, "transport error")]
    assert "a WebSocket failed and is cut" in caplog.text
    await server.sio.emit("news")
    for client in clients[1:]:
        assert await client.receive() == '42["news"]'
