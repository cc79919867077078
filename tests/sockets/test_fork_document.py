"""The namespaces of docs/fork.md, run as they are written there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import PythonVisitor, joined
from tests.support.demo.session import SessionData
from tests.support.fork_document import section, served
from tests.support.node_client import NodeVisitor
from tests.support.site import serve
from tests.support.users import user_id
from tests.support.waiting import until


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The modules of the page."""
    return served(tmp_path / "product", monkeypatch)


async def test_the_namespaces_of_the_document_work(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Each does what the text beside it says, for both clients."""
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        NodeVisitor(site.url) as visitor,
        PythonVisitor(site.url) as guest,
    ):
        await visitor.sign_up("ada")
        namespaces = ("/chat", "/game", "/club", "/lobby", "/room/blue")
        socket: Any = await joined(visitor, "websocket", namespaces=namespaces)
        other = await guest.socket("websocket", namespaces=("/chat",))
        await other.call("chat message", "hello")
        answer = await other.call("old", 1)
        assert answer == {"error": "this server is too old for old"}
        await until(lambda: ("chat message", ("hello",)) in socket.events("/chat"))
        assert other.received == []
        assert socket.connect_errors("/club") == [("closed", {"until": "2027-01-01"})]
        assert await socket.call("move", {"count": 2}, namespace="/game") == 2
        assert socket.events("/room/blue")[0] == ("welcome", ("blue",))
        ada = await user_id(site, visitor)
        await until(lambda: socket.events("/lobby") == [("users", ([ada],)), ("joined", (ada,))])


async def test_the_acks_of_the_document_are_those_of_the_server(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Each row of its table."""
    rows = re.findall(r"\| `emit\((.*)\)` \| `(\{.*\})` \|", section("Events"))
    assert len(rows) == 5
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        PythonVisitor(site.url) as visitor,
    ):
        socket = await visitor.socket("websocket", namespaces=("/game",))
        for sent, ack in rows:
            event, *args = eval(f"[{sent.replace('count', repr('count'))}]")
            assert await socket.call(event, *args) == eval(ack), sent
