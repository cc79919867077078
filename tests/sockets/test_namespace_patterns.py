"""Namespaces by pattern: made at CONNECT, and dropped with their last client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.sockets import event
from app.sockets.namespace_pattern import NamespacePattern
from app.transport.socketio.made_namespaces import MAX_NAMESPACES
from tests.support.browsers import PythonVisitor, browser, each_client, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.site import serve
from tests.support.sites import sites
from tests.support.waiting import until


class Named(BaseNamespace):
    """Says which class, namespace and values it has."""

    async def on_who(self, sid: str) -> list[Any]:
        return [type(self).__name__, self.namespace, dict(self.parameters)]

    async def on_say(self, sid: str, text: str) -> None:
        await self.emit("said", text)


class Room(Named):
    """Refuses the room `closed`."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> bool:
        self.number = getattr(self, "number", 0) + 1
        return bool(self.parameters["name"] != "closed")

    async def on_number(self, sid: str) -> int:
        return self.number

    @event("leave")
    async def leave(self, sid: str) -> None:
        await self.disconnect(sid)


class Lobby(Named):
    """An exact name that a pattern matches too."""


class Numbered(Named):
    """Values of other kinds."""


class Other(Named):
    """Every other name."""


NAMESPACES: list[tuple[str, type]] = [
    ("*", Other),
    ("/room/{name}", Room),
    ("/room/lobby", Lobby),
    ("/{kind}-{id:int}/at/{where:path}", Numbered),
]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return fork(monkeypatch, namespaces=NAMESPACES)


@each_client
async def test_a_client_joins_the_namespaces_of_a_pattern(
    tmp_path: Path, client: str, modules: tuple[str, ...]
) -> None:
    """Exact names win, then patterns, then `*`; the handler has the name and its values."""
    expected = {
        "/room/lobby": ["Lobby", "/room/lobby", {}],
        "/room/blue": ["Room", "/room/blue", {"name": "blue"}],
        "/room/blue/sky": ["Other", "/room/blue/sky", {}],
        "/page-7/at/a/b": ["Numbered", "/page-7/at/a/b", {"kind": "page", "id": 7, "where": "a/b"}],
        "/page-x/at/a": ["Other", "/page-x/at/a", {}],
    }
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", *expected))
        for namespace, answer in expected.items():
            assert await socket.call("who", namespace=namespace) == answer
        metrics = (await visitor.get("/metrics"))[1]
        assert 'namespace="/room/{name}"' in metrics
        assert "blue" not in metrics


async def test_an_emit_stays_in_its_namespace_and_its_last_client_ends_it(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """All clients of one name share an object, which is dropped with the last of them."""
    async with (
        serve(tmp_path, modules=modules) as site,
        NodeVisitor(site.url) as one,
        NodeVisitor(site.url) as two,
    ):
        first = await joined(one, "websocket", namespaces=("/", "/room/blue"))
        second = await joined(two, "websocket", namespaces=("/", "/room/blue", "/room/red"))
        assert await second.call("number", namespace="/room/blue") == 2
        await first.call("say", "hi", namespace="/room/blue")
        assert await second.call("number", namespace="/room/red") == 1
        assert second.events("/room/blue") == [("said", ("hi",))]
        assert second.events("/room/red") == []
        await site.services.emit_to_session(
            site.services.socket_server.get_context(
                next(iter(site.services.socket_server.manager.rooms["/room/red"][None])),
                "/room/red",
            ).session_id,
            "note",
            namespace="/room/red",
        )
        await second.call("who", namespace="/room/red")
        assert second.events("/room/red") == [("note", ())]
        server = site.services.socket_server
        await first.emit("leave", namespace="/room/blue")
        await second.emit("leave", namespace="/room/blue")
        await until(lambda: "/room/blue" not in server.namespace_handlers)
        assert "/room/blue" not in server.manager.rooms
        await until(lambda: first.ends("/room/blue"))  # else it is connected, and joins nothing
        await first.join("/room/blue")
        assert await first.call("number", namespace="/room/blue") == 1
        await first.join("/room/closed")
        assert first.errors("/room/closed") == ["Connection rejected by server"]
        assert "/room/closed" not in server.namespace_handlers
        assert "/room/closed" not in server.manager.rooms


async def test_one_connection_joins_a_bounded_number_of_them(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """It stays open, and its other namespaces work."""
    names = [f"/room/{number}" for number in range(MAX_NAMESPACES - 1)]
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", *names))
        await socket.join("/room/more")
        assert socket.errors("/room/more") == ["Too many namespaces"]
        assert await socket.call("number", namespace=names[-1]) == 1
        assert await socket.call("incr") == 1


async def test_an_emit_reaches_a_namespace_of_a_pattern_at_another_process(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Each process makes it for its own clients."""
    async with (
        sites(tmp_path, modules=modules) as (here, there),
        PythonVisitor(here.url) as one,
        PythonVisitor(there.url) as two,
    ):
        first = await one.socket("websocket", namespaces=("/room/blue",))
        second = await two.socket("websocket", namespaces=("/room/blue",))
        await first.call("say", "hi", namespace="/room/blue")
        assert await second.event("said") == "hi"


async def test_without_a_pattern_an_unknown_namespace_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before, and an emit to one is a mistake in the program."""
    modules = fork(monkeypatch, namespaces=[("/room/{name}", Room)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", "/rooms"))
        assert socket.errors("/rooms") == ["Invalid namespace"]
        assert not await site.services.emit_to_user("ada", "x", namespace="/room/blue")
        with pytest.raises(ValueError, match="no module of handlers/ has the namespace /rooms"):
            await site.services.emit_to_user("ada", "x", namespace="/rooms")


class OfPythonSocketio(BaseNamespace):
    """Written for python-socketio's `*`."""

    async def on_say(self, namespace: str, sid: str) -> None: ...


@pytest.mark.parametrize(
    ("namespaces", "words"),
    [
        ([("chat", Named)], "a name begins with /"),
        ([("/a/{}", Named)], "'' is no name of a field"),
        ([("/a/{x}/{x}", Named)], "'x' is no name of a field, or has been used"),
        ([("/a/{x:float}", Named)], "'float' is no kind; write str, int, path"),
        ([("/a/{x", Named)], "write fields as"),
        ([("/a/{x}", Named), ("/a/{y:str}", Room)], "Room: the namespaces /a/{y:str} are those of"),
        ([("*", OfPythonSocketio)], "OfPythonSocketio.on_say takes the namespace"),
    ],
)
async def test_a_name_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespaces: Any, words: str
) -> None:
    """The sentence says what to write."""
    modules = fork(monkeypatch, namespaces=namespaces)
    with pytest.raises(ValueError, match=words):
        async with serve(tmp_path, modules=modules):
            pass


@pytest.mark.parametrize(
    ("pattern", "namespace", "values"),
    [
        ("*", "/", {}),
        ("*", "/a\nb", {}),
        ("/a.b", "/a.b", {}),
        ("/a.b", "/axb", None),
        ("/{a}", "/", None),
        ("/{a}", "/x/y", None),
        ("/{a}", "/X y\n", {"a": "X y\n"}),
        ("/{a:int}", "/0", {"a": 0}),
        ("/{a:int}", "/007", None),
        ("/{a:int}", "/٣", None),
        ("/{a:int}", "/-1", None),
        ("/{a:int}", "/1000000000000000", None),
        ("/{a:path}/end", "/x/y/end", {"a": "x/y"}),
    ],
)
def test_a_pattern_matches(pattern: str, namespace: str, values: dict[str, Any] | None) -> None:
    """A field is one part of a name, a number, or the rest."""
    assert NamespacePattern(pattern).match(namespace) == values


async def test_the_name_of_a_namespace_writes_no_lines_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients choose it: line ends are escaped where handlers fail."""

    class Failing(BaseNamespace):
        async def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
            if self.parameters["name"].startswith("closed"):
                raise RuntimeError("injected")

        async def on_disconnect(self, sid: str, reason: str) -> None:
            raise RuntimeError("injected")

    def failures() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.exc_info]

    modules = fork(monkeypatch, namespaces=[("/room/{name}", Failing)])
    open_, closed = "/room/open\nroot signed in", "/room/closed\nroot signed in"
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", open_))
        await socket.join(closed)
        assert socket.errors(closed)
    await until(lambda: len(failures()) == 2)
    assert not any("\n" in line for line in failures())
