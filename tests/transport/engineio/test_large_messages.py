"""Large messages delay only their sender, and their memory is limited by the settings."""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.transport.engineio import message_deadline
from app.transport.http import writer as http_writer
from app.transport.loop_turns import MAX_SMALL_SIZE as SMALL
from app.transport.loop_turns import MAX_TURN_SIZE as BUDGET
from app.transport.loop_turns import Turns
from tests.support.raw import Raw
from tests.support.raw_websocket import HANDSHAKE, Closed, frame, read_response
from tests.support.site import serve
from tests.support.socket_server import Echo, Server, served
from tests.support.waiting import until

PLACEHOLDER = '{"_placeholder":true,"num":0}'


class Noting(Echo):
    """Records the order of its events."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        self.server.noted = []
        await self.emit("auth", {}, to=sid)

    async def on_note(self, sid: str, size: int, *data: Any) -> None:
        self.server.noted.append(size)


def large(size: int) -> bytes:
    """Return a frame with an event that is recorded."""
    return frame(0x81, f'42["note",{size},"{"x" * size}"]'.encode())


@served(events_per_second=10)
async def test_a_large_message_costs_more_than_one_event(server: Server) -> None:
    """It costs one event more per 10 kB: a bucket of 20 admits two of 90 kB at once."""
    websocket = await server.client()
    for number in range(2):
        assert not server.sio.engine.throttled
        await websocket.send(f'42{number}["ack","{"x" * 90_000}"]')
        assert (await websocket.receive()).startswith(f"43{number}")
    assert server.sio.engine.throttled == 1


@served(events_per_second=4)
async def test_a_large_message_in_a_post_costs_more_than_one_event(server: Server) -> None:
    """The cost is that of a WebSocket message."""
    sid = await server.handshake()
    await server.post(sid, "40")
    assert not server.sio.engine.throttled
    post = asyncio.create_task(server.post(sid, f'42["ack","{"x" * 90_000}"]'))
    await until(lambda: server.sio.engine.throttled)
    assert (await post).status == 200


@pytest.mark.parametrize("piece", [frame(0x00, b""), frame(0x00, b"x")])
@served(events_per_second=10)
async def test_frames_of_a_fragmented_message_are_charged(server: Server, piece: bytes) -> None:
    """Empty fragments cost as much, before the message is complete."""
    websocket = await server.client()
    await websocket.send_raw(frame(0x01, b"42") + piece * 1000)
    await until(lambda: server.sio.engine.throttled)
    (conn,) = server.sio.engine.connections.values()
    assert conn.busy
    transport: Any = conn.transport
    assert transport._reader._parser.ready > 900 * len(piece)


@served(events_per_second=200)
async def test_a_message_in_a_few_fragments_is_not_delayed(server: Server) -> None:
    """Browsers and proxies send such messages."""
    websocket = await server.client()
    text = '421["ack","' + "x" * 80_000 + '"]'
    pieces = [text[at : at + 10_000].encode() for at in range(0, len(text), 10_000)]
    await websocket.send_raw(
        frame(0x01, pieces[0]) + b"".join(frame(0x00, p) for p in pieces[1:]) + frame(0x80, b"")
    )
    assert (await websocket.receive()).startswith("431")
    assert not server.sio.engine.throttled


async def test_turns_are_bounded_and_the_smallest_goes_first() -> None:
    """One turn of the loop admits work up to its budget, and small work never waits."""
    turns = Turns(asyncio.get_running_loop())
    begun: list[tuple[int, float]] = []

    def begin(size: int) -> None:
        begun.append((size, turns._began))

    sizes = [
        BUDGET,
        BUDGET * 2,
        SMALL + 1,
        BUDGET // 2,
        BUDGET // 2,
    ]
    assert [turns.enter(size, partial(begin, size)) for size in sizes] == [True, *[False] * 4]
    assert turns.enter(SMALL, pytest.fail)
    await until(lambda: len(begun) == 4)
    assert [size for size, _ in begun] == [
        SMALL + 1,
        BUDGET // 2,
        BUDGET // 2,
        BUDGET * 2,
    ]
    first, *same, later = [turn for _, turn in begun]
    assert {first} == set(same)
    assert later > first
    await asyncio.sleep(0)
    assert turns.enter(BUDGET, pytest.fail)


class Clock:
    """The methods of a loop that turns use, with a time that the test sets."""

    def __init__(self) -> None:
        self.now = 10.0
        self.soon: list[Any] = []
        self.at: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def call_at(self, when: float, call: Any) -> None:
        self.at.append((when, call))


def test_other_tasks_get_half_of_the_time_of_the_loop() -> None:
    """The next turn begins as much later as the last one took."""
    clock = Clock()
    turns = Turns(clock)  # type: ignore[arg-type]
    begun: list[int] = []
    assert turns.enter(BUDGET, pytest.fail)
    assert not turns.enter(BUDGET, lambda: begun.append(1))
    clock.now += 0.5
    clock.soon.pop()()
    ((when, call),) = clock.at
    assert when == 11.0
    assert not begun
    call()
    assert begun == [1]


async def test_an_exception_in_a_turn_does_not_stop_the_next() -> None:
    """The loop's exception handler gets the error."""
    loop = asyncio.get_running_loop()
    errors: list[Any] = []
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    turns = Turns(loop)
    begun: list[int] = []
    assert turns.enter(BUDGET, pytest.fail)

    def fail() -> None:
        raise RuntimeError

    assert not turns.enter(BUDGET, fail)
    assert not turns.enter(BUDGET + 1, lambda: begun.append(1))
    await until(lambda: begun)
    assert len(errors) == 1


@served(namespaces=(Noting,), max_message_size=1_000_000)
async def test_large_messages_of_many_clients_let_a_small_one_pass(server: Server) -> None:
    """Twenty messages are complete at once, and a later small event is handled first."""
    crowd = [await server.client() for _ in range(20)]
    other = await server.client()
    message = large(BUDGET)
    for client in crowd:
        await client.send_raw(message[:-1])
    await server.request("GET", "/none")
    for client in crowd:
        client.writer.write(message[-1:])
    other.writer.write(frame(0x81, b'42["note",1]'))
    noted: list[int] = server.sio.noted
    await until(lambda: len(noted) == 21)
    assert noted.index(1) < 10


@served(namespaces=(Noting,), max_message_size=1_000_000)
async def test_large_posts_of_many_clients_let_a_small_one_pass(server: Server) -> None:
    """The same holds by polling."""
    sids = [await server.handshake() for _ in range(20)]
    for sid in sids:
        await server.post(sid, "40")
    other = await server.client()
    body = f'42["note",{BUDGET},"{"x" * BUDGET}"]'.encode()
    streams = []
    for sid in sids:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: a\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        await writer.drain()
        streams.append((reader, writer))
    await server.request("GET", "/none")
    for _, writer in streams:
        writer.write(body[-1:])
    other.writer.write(frame(0x81, b'42["note",1]'))
    noted: list[int] = server.sio.noted
    await until(lambda: len(noted) == 21)
    assert noted.index(1) < 10
    for reader, writer in streams:
        assert (await read_response(reader)).body == b"ok"
        writer.close()


@served(namespaces=(Noting,), max_message_size=1_000_000)
async def test_large_messages_with_small_last_attachments_wait_too(server: Server) -> None:
    """The size of the whole message counts, and not that of its last attachment."""
    crowd = [await server.client() for _ in range(20)]
    other = await server.client()
    sids = [client.sid for client in crowd]
    for client in crowd:
        await client.send(f'451-["note",{BUDGET},"{"x" * BUDGET}",{PLACEHOLDER}]')
    await until(lambda: all(server.sio.engine.connections[sid].unfinished for sid in sids))
    for client in crowd:
        client.writer.write(frame(0x82, b"x"))
    other.writer.write(frame(0x81, b'42["note",1]'))
    noted: list[int] = server.sio.noted
    await until(lambda: len(noted) == 21)
    assert noted.index(1) < 10


@served(namespaces=(Noting,))
async def test_reading_pauses_while_a_client_waits_for_its_turn(
    server: Server, monkeypatch: Any
) -> None:
    """The server reads the client's later packets afterwards, in order."""
    waiting: list[Any] = []

    def enter(turns: Turns, size: int, begin: Any) -> bool:
        if size > SMALL:
            waiting.append(begin)
        return size <= SMALL

    monkeypatch.setattr(Turns, "enter", enter)
    client = await server.client()
    transport: Any
    (transport,) = [c.transport for c in server.sio.engine.connections.values()]
    await client.send_raw(large(50_000))
    await until(lambda: waiting)
    assert transport._reader._paused
    await client.send('42["note",2]')
    await server.request("GET", "/none")
    assert server.sio.noted == []
    waiting.pop()()
    assert not transport._reader._paused
    await until(lambda: server.sio.noted == [50_000, 2])
    assert not waiting


async def test_large_forms_wait_for_their_turn(tmp_path: Path, monkeypatch: Any) -> None:
    """A page's body waits like a message; a client that leaves meanwhile is removed."""
    waiting: list[Any] = []
    # a client that has left looks half-closed at first
    monkeypatch.setattr(http_writer, "HALF_CLOSED_TIMEOUT", 0.1)
    monkeypatch.setattr(Turns, "enter", lambda turns, size, begin: waiting.append(begin))
    async with serve(tmp_path) as site, Raw(site.url) as raw, Raw(site.url) as leaver:
        body = b'{"username":"' + b"x" * 100_000 + b'"}'
        for client in (raw, leaver):
            client.write("/login", ("Content-Type", "application/json"), method="POST", body=body)
        await until(lambda: len(waiting) == 2)
        reset = struct.pack("ii", 1, 0)
        leaver.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, reset
        )
        leaver.writer.transport.abort()
        await until(lambda: len(site.app.http_server.connections) == 1)
        for begin in waiting:
            begin()
        assert (await raw.answer()).status == 422


@served()
async def test_a_body_of_tiny_chunks_takes_turns(server: Server, monkeypatch: Any) -> None:
    """64 kB of tiny chunks are much work, which continues in later turns."""
    waiting: list[Any] = []

    def enter(turns: Turns, size: int, begin: Any) -> bool:
        if size > SMALL:
            waiting.append(begin)
        return size <= SMALL

    sid = await server.handshake()
    await server.post(sid, "40")
    monkeypatch.setattr(Turns, "enter", enter)
    packet = b'421["ack","' + b"x" * 5000 + b'"]'
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in packet) + b"0\r\n\r\n"
    head = f"POST {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: a\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)
    answer = asyncio.create_task(read_response(reader))
    turns = 0
    while not answer.done():
        await until(lambda: waiting or answer.done())
        for begin in waiting[:]:
            waiting.remove(begin)
            turns += 1
            begin()
    assert answer.result().body == b"ok"
    assert turns > 1
    writer.close()


@served()
async def test_attachments_count_as_part_of_their_message(server: Server) -> None:
    """Together they are limited by --max-message-size, which is 100 kB here."""
    for sizes, fits in (((49_000, 50_000), True), ((50_000, 50_000), False)):
        websocket = await server.client()
        await websocket.send(f'452-1["ack",{PLACEHOLDER},{PLACEHOLDER}]')
        await websocket.send(*(b"x" * size for size in sizes))
        answer = await websocket.receive()
        assert answer.startswith("46") if fits else isinstance(answer, Closed)
    assert [reason for _, reason in server.closed] == ["protocol violation"]


@served()
async def test_attachments_must_arrive_in_time(server: Server, monkeypatch: Any) -> None:
    """Pongs do not extend the deadline; a complete message leaves no timer."""
    monkeypatch.setattr(message_deadline, "MESSAGE_TIMEOUT", 0.2)
    patient, late = await server.client(), await server.client()
    await patient.send(f'451-1["ack",{PLACEHOLDER}]', b"x")
    assert (await patient.receive()).startswith("461-1")
    await late.send(f'452-1["ack",{PLACEHOLDER}]', b"x")
    await late.closed()
    assert server.closed == [(late.sid, "protocol violation")]
    assert await patient.receive() == b"x"
    await patient.send('422["ack"]')
    assert await patient.receive() == "432[]"


@served()
async def test_fragments_must_arrive_in_time(server: Server, monkeypatch: Any) -> None:
    """The same holds for fragments of an attachment; a complete message leaves no timer."""
    monkeypatch.setattr(message_deadline, "MESSAGE_TIMEOUT", 0.2)
    patient, first, second = [await server.client() for _ in range(3)]
    await patient.send_raw(frame(0x01, b"421") + frame(0x80, b'["ack"]'))
    assert await patient.receive() == "431[]"
    await first.send_raw(frame(0x01, b"42"))
    await second.send(f'452-1["ack",{PLACEHOLDER}]')
    await second.send_raw(frame(0x02, b"x") + frame(0x80, b"y"))
    for late in (first, second):
        await late.closed()
    assert {reason for _, reason in server.closed} == {"protocol violation"}
    assert len(server.closed) == 2
    await patient.send('422["ack"]')
    assert await patient.receive() == "432[]"


@served(events_per_second=1)
async def test_the_deadline_of_attachments_waits_while_the_server_does_not_read(
    server: Server, monkeypatch: Any
) -> None:
    """A throttled client cannot be late."""
    monkeypatch.setattr(message_deadline, "MESSAGE_TIMEOUT", 0.2)
    websocket = await server.client()
    await websocket.send(f'451-1["ack",{PLACEHOLDER}]', b"x")
    assert (await websocket.receive()).startswith("461-1")
    assert server.sio.engine.throttled
    assert not server.closed
