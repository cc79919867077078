"""Invalid events and packets are refused, logged in one line, and do no harm."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import PythonVisitor, each_transport, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.waiting import until


class NoisyNamespace(BaseNamespace):
    """A namespace that records which of its handlers ran."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ran: list[str] = []

    def on_connect(self, sid: str, environ: dict[str, Any], auth: Any) -> None:
        self.ran.append("connect")

    def on_disconnect(self, sid: str, reason: str) -> None:
        self.ran.append("disconnect")

    def on_connect_error(self, sid: str, *args: Any) -> None:
        self.ran.append("connect_error")

    def on_two(self, sid: str, first: int, second: int = 0) -> int:
        self.ran.append("two")
        return first + second


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the application's log lines."""
    texts = [record.getMessage() for record in caplog.records if "latchkey" in record.name]
    return "\n".join(texts).splitlines()


@pytest.mark.parametrize(
    ("event", "args", "words"),
    [
        ("nonsense", (1,), "unknown event"),
        ("", (), "unknown event"),
        ("two\nforged line", (), "unknown event"),
        ("__class__", (), "unknown event"),
        ("two", (), "does not take 0 arguments"),
        ("two", (1, 2, 3), "does not take 3 arguments"),
    ],
)
async def test_a_wrong_event_gets_an_error_ack(
    tmp_path: Path,
    event: str,
    args: tuple[Any, ...],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client gets the error, the log has one line, and the connection stays open."""
    modules = fork(monkeypatch, namespaces=[("/noisy", NoisyNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/noisy",))
        with caplog.at_level(logging.INFO):
            answer = await socket.call(event, *args, namespace="/noisy")
        assert words in answer["error"]
        assert len(lines(caplog)) == 1
        assert await socket.call("two", 1, namespace="/noisy") == 1


async def test_a_wrong_event_without_ack_is_ignored(tmp_path: Path) -> None:
    """The client gets no answer, and the next event works."""
    async with serve(tmp_path) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket")
        await socket.emit("nonsense")
        await socket.emit("incr", 1, 2, 3)
        assert await socket.call("incr") == 1
        assert socket.received == []


@each_transport
@pytest.mark.parametrize(
    "packet",
    ['["connect",{}]', '["disconnect"]', '["disconnect","x"]', '["connect_error",1]', '["*","x"]'],
)
@pytest.mark.attack("A29")
async def test_a_reserved_event_runs_no_handler(
    tmp_path: Path, transport: str, packet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client cannot forge a connect or disconnect of its own or of others."""
    modules = fork(monkeypatch, namespaces=[("/noisy", NoisyNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, transport, namespaces=("/noisy",))
        namespace = site.services.socket_server.namespace_handlers["/noisy"]
        await socket.packet("2/noisy," + packet)
        await asyncio.sleep(0.1)
        # a server may close whoever sends such a packet; nothing else may run
        assert namespace.ran in (["connect"], ["connect", "disconnect"])
        if namespace.ran == ["connect", "disconnect"]:
            await until(lambda: bool(socket.ends("/noisy")))


GARBAGE = [
    "",
    "x",
    "9",
    "4",
    "4x",
    "49",
    "²",
    "42",
    "42[",
    "42{}",
    "42[]",
    "42[1]",
    "42[null]",
    '42["incr"',
    '42["incr",NaN]',
    "42" + "[" * 10_000,
    "4299999999999999999999",
    '451-["incr",{"_placeholder":true,"num":0}]',
    '45999999999-["incr"]',
    "430[]",
    '43123["x"]',
    "44{}",
    "40/nowhere,",
    "41/nowhere,",
    "0{}",
    "5",
    "3probe",
]


@pytest.mark.parametrize("packet", GARBAGE)
@pytest.mark.attack("A32")
async def test_garbage_on_a_websocket_is_refused(
    tmp_path: Path, packet: str, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no traceback and no change of the session, and its other socket goes on."""
    async with serve(tmp_path) as site, PythonVisitor(site.url) as visitor, Raw(site.url) as raw:
        socket = await joined(visitor, "websocket")
        await raw.websocket(("Cookie", visitor.cookie))
        raw.send("40")
        raw.send(packet)
        await asyncio.sleep(0.05)
        assert await socket.call("incr") == 1
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("packet", [packet for packet in GARBAGE if packet])
@pytest.mark.attack("A32")
async def test_garbage_in_a_post_is_refused(
    tmp_path: Path, packet: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The same by polling: the client gets an answer other than 500."""
    async with serve(tmp_path) as site, PythonVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket")
        cookie = ("Cookie", visitor.cookie)
        async with Raw(site.url) as raw:
            opened = await raw.ask(POLLING, cookie)
            path = POLLING + "&sid=" + opened.body.partition('"sid":"')[2].partition('"')[0]
            await raw.ask(path, cookie, method="POST", body=b"40")
            answer = await raw.ask(path, cookie, method="POST", body=packet.encode())
        assert answer.status < 500
        assert await socket.call("incr") == 1
    assert "Traceback" not in caplog.text
