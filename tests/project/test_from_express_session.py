"""docs/from-express-session.md: its Python is run, one test for each pair."""

from __future__ import annotations

import asyncio
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.testing import NotReceived, Site, SocketRefused, Transport, Visitor
from tests.support.paths import ROOT
from tests.support.requirements import skip

PAGE = (ROOT / "docs" / "from-express-session.md").read_text(encoding="utf-8")
each_transport = pytest.mark.parametrize("transport", ["polling", "websocket"])


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def latchkey_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Make a fork of the page: the session of one block, and a module of the others."""
    session, module = tmp_path / "guide_session.py", tmp_path / "guide_module.py"
    python = blocks("python")
    (declared,) = (block for block in python if block.startswith("# handlers/session.py"))
    session.write_text(declared)
    rest = "\n".join(block for block in python if block is not declared)
    module.write_text(rest.replace("from handlers.session import", "from guide_session import"))
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("guide_session", "guide_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    data_type = importlib.import_module("guide_session").SessionData
    return {"modules": ["guide_module", "handlers.sign_in"], "data_type": data_type}


async def test_sockets_read_the_session(visitor: Visitor) -> None:
    """Use case 1: a visitor is refused, a user is known."""
    with pytest.raises(SocketRefused, match=r"^unauthorized$"):
        await visitor.socket("/members")
    await visitor.register("ann")
    members = await visitor.socket("/members")
    assert await members.call("whoami") == "ann"


@each_transport
async def test_sockets_create_the_session(visitor: Visitor, transport: Transport) -> None:
    """Use case 2: the handshake's cookie is that of the next page."""
    socket = await visitor.socket("/count", transport=transport)
    cookie = visitor.cookie
    assert cookie
    assert await visitor.post("/raise") == (200, "1")
    assert await socket.call("count") == 1
    assert visitor.cookie == cookie


async def test_a_page_tells_the_sockets_of_its_session(latchkey: Site, visitor: Visitor) -> None:
    """All of them, and nobody else's."""
    tabs = [await visitor.socket("/count"), await visitor.socket("/count")]
    stranger = await latchkey.visitor().socket("/count")
    await visitor.post("/raise")
    assert [await tab.event("current count") for tab in tabs] == [1, 1]
    assert await stranger.call("count") == 0
    assert stranger.received == []


async def test_events_modify_the_session_and_lose_nothing(visitor: Visitor) -> None:
    """Fifty at once, of two sockets and of pages."""
    sockets = [await visitor.socket("/raise"), await visitor.socket("/raise")]
    await asyncio.gather(
        *(socket.call("raise") for socket in sockets for _ in range(20)),
        *(visitor.post("/raise") for _ in range(10)),
    )
    assert await visitor.post("/raise") == (200, "51")


async def test_each_event_is_checked(visitor: Visitor) -> None:
    """The fourth event ends the session, and the socket with it."""
    socket = await visitor.socket("/metered")
    assert [await socket.call("hello") for _ in range(3)] == ["hello"] * 3
    with pytest.raises(NotReceived, match=r"the socket ended \(revoked\)"):
        await socket.call("hello")
    assert await visitor.post("/raise") == (200, "1")


@each_transport
async def test_logging_out_closes_the_sockets(visitor: Visitor, transport: Transport) -> None:
    """Before the response, and the client knows why."""
    await visitor.register("ann")
    members = await visitor.socket("/members", transport=transport)
    assert (await visitor.post("/leave")).status == 204
    assert await members.ended() == "logout"


@each_transport
async def test_an_expired_session_closes_its_sockets(
    latchkey: Site, visitor: Visitor, transport: Transport
) -> None:
    """An event restarts the idle timeout."""
    socket = await visitor.socket("/raise", transport=transport)
    await latchkey.advance(80_000)
    assert await socket.call("raise") == 1
    await latchkey.advance(80_000)
    assert await socket.call("raise") == 2
    await latchkey.advance(90_000)
    assert await socket.ended() == "idle"


def test_the_javascript_of_the_page_is_valid(tmp_path: Path) -> None:
    """Node reads each block; it runs none, since that would take packages from the network."""
    node = shutil.which("node") or skip("Node.js is missing: pip install -e '.[dev]'")
    for number, block in enumerate(blocks("js")):
        (tmp_path / f"{number}.mjs").write_text(block)
        subprocess.run([str(node), "--check", f"{number}.mjs"], cwd=tmp_path, check=True)


def test_each_part_has_both_sides() -> None:
    """Every heading that shows Node's code is followed by what it is here."""
    for part in PAGE.split("\n## ")[1:]:
        if "In Node" in part:
            assert "\nHere " in part, part
            assert "```js" in part or "```ts" in part, part
