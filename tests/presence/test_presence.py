"""Which users are present, and the hooks that tell of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.presence import local_presence
from app.sockets import ConnectionRefused
from tests.support.browsers import PythonVisitor, browser, each_client, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.site import serve
from tests.support.users import user_id
from tests.support.waiting import until

GRACE = 0.2  # seconds, so that tests are short


class Lobby(BaseNamespace):
    """Notes who joins and leaves, and answers who is present."""

    told: list[tuple[str, str, str]] = []
    gate: asyncio.Event | None = None

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        if isinstance(auth, dict) and auth.get("refuse"):
            raise ConnectionRefused("full")
        users = await self.services.presence.users(self.namespace)
        await self.emit("users", sorted(users), to=sid)

    async def on_users(self, sid: str) -> list[str]:
        return sorted(await self.services.presence.users(self.namespace))

    async def on_user_join(self, user_id: str) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.told.append(("join", self.namespace, user_id))
        await self.emit("joined", user_id)

    async def on_user_leave(self, user_id: str) -> None:
        self.told.append(("leave", self.namespace, user_id))
        await self.emit("left", user_id)


class Quiet(BaseNamespace):
    """A namespace without hooks."""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(local_presence, "GRACE", GRACE)
    monkeypatch.setattr(Lobby, "told", [])
    monkeypatch.setattr(Lobby, "gate", None)
    namespaces = [("/lobby", Lobby), ("/room/{name}", Lobby), ("/quiet", Quiet)]
    return fork(monkeypatch, namespaces=namespaces)


@each_client
async def test_the_first_socket_joins_and_the_last_one_leaves(
    tmp_path: Path, client: str, modules: tuple[str, ...]
) -> None:
    """Each is told once, to all clients; other tabs, visitors and other namespaces tell nothing."""
    async with (
        serve(tmp_path, modules=modules) as site,
        browser(client, site.url) as visitor,
        PythonVisitor(site.url) as guest,
    ):
        watching = await guest.socket("websocket", namespaces=("/lobby",))
        await visitor.sign_up("ada")
        ada = await user_id(site, visitor)
        first = await joined(visitor, "websocket", namespaces=("/lobby",))
        assert await watching.event("joined") == ada
        assert first.events("/lobby")[0] == ("users", ([ada],)), "its own user is present"
        second = await joined(visitor, "websocket", namespaces=("/lobby", "/quiet"))
        assert await watching.call("users") == [ada]
        (lobby, quiet) = await site.services.presence.of(ada)
        assert (lobby.namespace, lobby.sockets) == ("/lobby", 2)
        assert (quiet.namespace, quiet.sockets) == ("/quiet", 1)
        assert 0 < lobby.since <= quiet.since
        await first.close()
        await second.close()
        assert await watching.event("left") == ada
        assert await watching.call("users") == []
        assert await site.services.presence.of(ada) == []
        assert Lobby.told == [("join", "/lobby", ada), ("leave", "/lobby", ada)]


async def test_a_reload_of_the_page_tells_nothing(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without sockets is present for a while."""
    monkeypatch.setattr(local_presence, "GRACE", 60.0)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        ada = await user_id(site, visitor)
        for _ in range(3):
            socket = await visitor.socket("websocket", namespaces=("/lobby",))
            assert await socket.call("users") == [ada]
            await socket.close()
            await until(lambda: not len(site.services.connections))
        assert await site.services.presence.users("/lobby") == {ada}
        (row,) = await site.services.presence.of(ada)
        assert row.sockets == 0
        assert Lobby.told == [("join", "/lobby", ada)]


async def test_a_refused_client_was_never_present(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """No hook is called."""
    async with serve(tmp_path, modules=modules) as site, browser("official", site.url) as visitor:
        await visitor.sign_up("ada")
        socket: Any = await joined(visitor, "websocket", namespaces=("/",))
        await socket.join("/lobby", auth={"refuse": True})
        assert socket.errors("/lobby") == ["full"]
        assert await site.services.presence.users("/lobby") == set()
        await socket.join("/lobby", auth={"refuse": False})
        await until(lambda: [what for what, *_ in Lobby.told] == ["join"])


async def test_a_pattern_has_users_in_each_of_its_namespaces(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """The leave is told though the namespace was dropped with its last client."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        ada = await user_id(site, visitor)
        socket = await visitor.socket("websocket", namespaces=("/room/blue", "/room/red"))
        await until(lambda: len(Lobby.told) == 2)
        assert await site.services.presence.users("/room/blue") == {ada}
        assert await site.services.presence.users("/room/green") == set()
        with pytest.raises(ValueError, match="no module of handlers/ has the namespace /rooms"):
            await site.services.presence.users("/rooms")
        await socket.close()
        await until(lambda: len(Lobby.told) == 4)
        assert sorted(Lobby.told[2:]) == [
            ("leave", "/room/blue", ada),
            ("leave", "/room/red", ada),
        ]


async def test_hooks_of_a_user_run_one_after_the_other(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """A slow join is over before the leave begins."""
    Lobby.gate = asyncio.Event()
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await visitor.socket("websocket", namespaces=("/lobby",))
        await socket.close()
        await until(lambda: not len(site.services.presence.here))
        assert Lobby.told == []
        Lobby.gate.set()
        await until(lambda: [what for what, *_ in Lobby.told] == ["join", "leave"])


class Failing(BaseNamespace):
    """A hook that raises, and one that is no coroutine."""

    left: list[str] = []

    async def on_user_join(self, user_id: str) -> None:
        raise ZeroDivisionError

    def on_user_leave(self, user_id: str) -> None:  # type: ignore[override]
        self.left.append(user_id)


async def test_a_failing_hook_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged. The leave of a process that stops is told before it ends."""
    monkeypatch.setattr(Failing, "left", [])
    modules = fork(monkeypatch, namespaces=[("/failing", Failing)])
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        ada = await user_id(site, visitor)
        await visitor.socket("websocket", namespaces=("/failing",))
        await until(lambda: "ZeroDivisionError" in caplog.text)
        assert "Failing.on_user_join failed" in caplog.text
        assert Failing.left == []
    assert Failing.left == [ada]


async def test_a_user_who_signs_out_leaves(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """The sockets that come back are a visitor's."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await visitor.socket("websocket", namespaces=("/lobby",), reconnection=True)
        await until(lambda: len(Lobby.told) == 1)
        assert (await visitor.post("/logout"))[0] == 204
        await until(lambda: len(Lobby.told) == 2)
        await until(lambda: socket.connects == 2)
        assert await socket.call("users") == []
