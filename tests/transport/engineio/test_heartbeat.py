"""A client that answers its heartbeat stays connected while the server sends much data."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from app.transport.engineio.close_reason import Reason
from app.transport.engineio.heartbeat import Heartbeat
from app.transport.timers import Timer
from tests.support.raw import POLLING, Answer, Raw
from tests.support.raw_websocket import HANDSHAKE
from tests.support.site import serve
from tests.support.socket_server import Server, served
from tests.support.waiting import until


@pytest.mark.parametrize("busy", [False, True])
async def test_a_pong_counts_while_a_later_message_waits(tmp_path: Path, busy: bool) -> None:
    """The pong answers a ping that a poll has fetched; the message came after it."""
    async with serve(tmp_path, ping_interval=0.3, ping_timeout=0.6) as site:

        async def ask(path: str, method: str = "GET", body: bytes | None = None) -> Answer:
            async with Raw(site.url) as raw:
                return await raw.ask(path, cookie, method=method, body=body)

        async with Raw(site.url) as raw:
            shaken = await raw.ask(POLLING)
        cookie = ("Cookie", shaken.cookie)
        path = f"{POLLING}&sid={json.loads(shaken.body[1:])['sid']}"
        await ask(path, "POST", b"40")
        await ask(path)
        for _ in range(5):
            packets: list[str] = []
            while "2" not in packets:
                poll = await ask(path)
                assert poll.status == 200, poll.body
                packets = poll.body.split("\x1e")
                assert "1" not in packets, "closed, though every ping was answered"
            if busy:  # a page of the same session emits while the client is between two polls
                assert (await ask("/incr", "POST", b"")).status == 200
            answer = await ask(path, "POST", b"3")
            assert (answer.status, answer.body) == (200, "ok")


@pytest.mark.parametrize("event", ['421["incr"]', '421["whoami"]', '421["nope"]'])
async def test_a_pong_counts_directly_after_an_event(tmp_path: Path, event: str) -> None:
    """The server reads both at once, so the ack still waits when it sees the pong."""
    async with serve(tmp_path, ping_interval=0.3, ping_timeout=0.3) as site, Raw(site.url) as raw:
        assert (await raw.websocket()).status == 101
        raw.send("40")
        pings = 0
        while pings < 4:
            message = await raw.receive()
            assert message is not None, "closed, though every ping was answered"
            if message == "2":
                pings += 1
                raw.send(event)
                raw.send("3")


def fetch_slowly(port: int, sid: str) -> bytes:
    """Poll on a slow connection, and return the complete body."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {HANDSHAKE}polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head, _, body = client.recv(4096).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            time.sleep(0.01)
            body += client.recv(16_000)
    return body


@served(ping_interval=0.2, ping_timeout=0.5)
async def test_a_slow_poll_may_take_longer_than_the_ping_timeout(server: Server) -> None:
    """The ping is the first packet of its response."""
    sid = await server.handshake()
    await server.post(sid, "40")
    assert (await server.poll(sid)).status == 200
    (connection,) = server.sio.engine.connections.values()
    await server.sio.emit("large", "x" * 1_500_000)
    transport: Any = connection.transport
    await until(lambda: transport._outbox[0] == b"2")
    body = await asyncio.to_thread(fetch_slowly, server.port, sid)
    assert body.startswith(b"2\x1e42")
    assert (await server.post(sid, "3")).status == 200
    assert not connection.closed


class Slow:
    """A transport whose test decides how much the client reads, with a clock for its heartbeat."""

    name, congested, busy, closed = "slow", False, False, ""
    ping_interval, ping_timeout = 25.0, 20.0

    def __init__(self) -> None:
        self.sent, self.now = 1_000_000, 0.0
        self.wheel = self.loop = self.settings = self.transport = self
        self.took = 0

    def time(self) -> float:
        return self.now

    def start(self, timer: Timer, seconds: float) -> None:
        self.timer, timer.due = timer, self.now + seconds

    extend = start

    def pass_time(self) -> None:
        self.now = self.timer.due
        self.timer.run()

    def ping(self) -> int:
        return self.sent

    def taken(self) -> int:
        return self.took

    def waiting(self) -> int:
        return 0

    def behind(self, mark: int) -> bool:
        return self.took < mark

    def unread(self) -> bool:
        return False

    def close(self, reason: str) -> None:
        self.closed = reason


@pytest.mark.parametrize("looks", [0, 1, 5])
def test_the_ping_timeout_begins_when_the_client_reads_the_ping(looks: int) -> None:
    """The client reads the ping just before the server checks, and answers a moment later."""
    slow: Any = Slow()
    Heartbeat(slow, slow)
    slow.pass_time()
    for _ in range(looks):
        slow.took += 1000
        slow.pass_time()
    slow.took = slow.sent
    slow.pass_time()
    assert not slow.closed
    slow.pass_time()
    assert slow.closed == Reason.PING_TIMEOUT
    assert slow.now == 25 + 20 * (looks + 2)
