"""Recipients of emits and acks, in one process and in several over one Redis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import PythonVisitor
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.waiting import until

EMPTY: list[Any] = ["", [], (), set(), frozenset(), [None], ["nobody"], 7]


class Hall(BaseNamespace):
    """Each client is in the room of its number, and the first one also in the room 0."""

    members: list[str] = []

    async def on_connect(self, sid: str) -> None:
        await self.enter_room(sid, len(self.members))
        self.members.append(sid)

    async def on_answer(self, sid: str) -> str:
        return sid


Places = tuple[list[Site], list[Any], list[str]]


@contextlib.asynccontextmanager
async def hall(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Places]:
    """Serve the namespace; yield the sites, two clients of the last one, and their sids."""
    Hall.members = []
    modules = fork(monkeypatch, namespaces=[("/hall", Hall)])
    async with contextlib.AsyncExitStack() as stack:
        if kind == "redis":
            places = await stack.enter_async_context(sites(tmp_path, modules=modules))
        else:
            places = [await stack.enter_async_context(serve(tmp_path, modules=modules))]
        visitor = await stack.enter_async_context(PythonVisitor(places[-1].url))
        sockets = []
        for _ in range(2):
            socket = await visitor.socket("websocket", namespaces=("/hall",))
            socket.answer("question", lambda: "an answer")
            sockets.append(socket)
        await until(lambda: len(Hall.members) == 2)
        yield places, sockets, list(Hall.members)


each_kind = pytest.mark.parametrize("kind", ["memory", "redis"])


@each_kind
async def test_an_empty_list_of_recipients_reaches_no_client(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use `emit` and `send`, of the server and of a namespace, with `to` and with `room`."""
    async with hall(kind, tmp_path, monkeypatch) as (places, sockets, _):
        server = places[0].services.socket_server
        namespace = server.namespace_handlers["/hall"]
        for nobody in EMPTY:
            await server.emit("secret", to=nobody, namespace="/hall")
            await server.emit("secret", room=nobody, namespace="/hall")
            await server.send("secret", to=nobody, namespace="/hall")
            await server.send(b"secret", room=nobody, namespace="/hall")
            await namespace.emit("secret", to=nobody)
            await namespace.emit("secret", room=nobody)
            await namespace.send("secret", to=nobody)
            await server.manager.emit("secret", "x", "/hall", to=nobody)
        await server.emit("news", namespace="/hall")
        await until(lambda: all(socket.received for socket in sockets))
        assert [socket.received for socket in sockets] == [[("news", ())], [("news", ())]]


@each_kind
async def test_zero_is_the_name_of_a_room(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its members receive the emit, by either name of the argument."""
    async with hall(kind, tmp_path, monkeypatch) as (places, sockets, _):
        server = places[0].services.socket_server
        await server.emit("a", to=0, namespace="/hall")
        await server.emit("b", room=0, namespace="/hall")
        await server.send("c", to=0, namespace="/hall")
        await server.emit("d", to={0}, namespace="/hall")
        await server.emit("e", to=0, room=1, namespace="/hall")
        await server.emit("end", namespace="/hall")
        await until(lambda: all(socket.received for socket in sockets))
        await until(lambda: len(sockets[0].received) == 6)
        first, second = ([event for event, _ in socket.received] for socket in sockets)
        assert first == ["a", "b", "message", "d", "e", "end"]
        assert second == ["end"]


@each_kind
async def test_an_emit_skips_any_collection_of_clients(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty collection skips no client."""
    async with hall(kind, tmp_path, monkeypatch) as (places, sockets, (first, second)):
        server = places[0].services.socket_server
        for number, skipped in enumerate(([first], (first,), {first}, first)):
            await server.emit(str(number), skip_sid=skipped, namespace="/hall")
        nobodies: tuple[Any, ...] = ("", [], (), set(), None)
        for number, nobody in enumerate(nobodies):
            await server.emit(f"all {number}", skip_sid=nobody, namespace="/hall")
        await server.emit("none", skip_sid=[first, second], namespace="/hall")
        await server.emit("end", namespace="/hall")
        everybody = [f"all {number}" for number in range(5)]
        for socket, own in ((sockets[0], []), (sockets[1], ["0", "1", "2", "3"])):
            wanted = [*own, *everybody, "end"]
            await until(lambda: len(socket.received) == len(wanted))  # noqa: B023
            assert [event for event, _ in socket.received] == wanted


@each_kind
async def test_closing_a_room_closes_no_other(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty name or list closes no room; a list closes several."""
    async with hall(kind, tmp_path, monkeypatch) as (places, _, (first, second)):
        server, there = places[0].services.socket_server, places[-1].services.socket_server
        nothings: tuple[Any, ...] = ("", [], None, "nobody")
        for nothing in nothings:
            await server.close_room(nothing, namespace="/hall")
        await server.close_room(0, namespace="/hall")
        await until(lambda: 0 not in there.rooms(first, namespace="/hall"))
        assert 1 in there.rooms(second, namespace="/hall")
        await there.enter_room(first, 0, namespace="/hall")
        await server.close_room([0, 1], namespace="/hall")
        await until(lambda: 1 not in there.rooms(second, namespace="/hall"))
        assert 0 not in there.rooms(first, namespace="/hall")


@each_kind
async def test_the_named_client_calls_back(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the client of the given sid."""
    async with hall(kind, tmp_path, monkeypatch) as (places, _, (first, _second)):
        server = places[0].services.socket_server
        answers: list[Any] = []
        await server.emit("question", to=first, namespace="/hall", callback=answers.append)
        await until(lambda: answers == ["an answer"])
        assert await server.call("question", to=first, namespace="/hall", timeout=5) == "an answer"
        assert await server.call("question", sid=first, namespace="/hall", timeout=5)


@each_kind
async def test_a_callback_needs_one_client(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each client of a room would call back, so the emit is refused and not sent."""
    async with hall(kind, tmp_path, monkeypatch) as (places, sockets, sids):
        server = places[0].services.socket_server
        await places[-1].services.socket_server.enter_room(sids[0], "room", namespace="/hall")
        for room in (None, "", 0, "room", "nobody", [], [sids[0]], sids, ("room",), {"room"}):
            for send in (server.emit, server.send):
                with pytest.raises(ValueError, match="needs the sid of one client"):
                    await send("question", to=room, namespace="/hall", callback=print)
            with pytest.raises(ValueError, match="needs the sid of one client"):
                await server.call("question", to=room, namespace="/hall")
        await server.emit("end", namespace="/hall")
        for socket in sockets:
            await until(lambda: socket.received)  # noqa: B023
            assert socket.received == [("end", ())]


async def test_a_callback_to_a_room_that_looks_like_a_client_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process must know that it is a room; a client that has left is no recipient."""
    async with hall("memory", tmp_path, monkeypatch) as (places, _, (first, _second)):
        server = places[0].services.socket_server
        await server.enter_room(first, "x" * 20, namespace="/hall")
        with pytest.raises(ValueError, match="needs the sid of one client"):
            await server.emit("question", to="x" * 20, namespace="/hall", callback=print)
        await server.emit("question", to="y" * 20, namespace="/hall", callback=print)


@each_kind
async def test_emit_to_session_reaches_that_session_alone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor without a session has no sockets; an empty sid is an error."""
    async with hall(kind, tmp_path, monkeypatch) as (places, sockets, (first, _second)):
        namespace = places[-1].services.socket_server.namespace_handlers["/hall"]
        async with PythonVisitor(places[0].url) as stranger:
            other = await stranger.socket("websocket", namespaces=("/hall",))
            for nobody in ("", 0, None):
                with pytest.raises(LookupError, match="unknown socket id"):
                    await namespace.emit_to_session(nobody, "secret")
            await namespace.emit_to_session(first, "told")
            await until(lambda: sockets[1].received == [("told", ())])
            await asyncio.sleep(0.05)
            assert (sockets[0].received, other.received) == ([], [])
            await other.close()
