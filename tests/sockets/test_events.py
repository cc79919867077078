"""Which method of a namespace handles an event: by its name, a decorator, or the catch-all."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from socketio.exceptions import ConnectionRefusedError as LibraryRefused

from app.sockets import ConnectionRefused, event
from tests.support.browsers import PythonVisitor, browser, each_client, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.site import serve


class Chat(BaseNamespace):
    """Answers with the name of the method that ran."""

    @event("chat message")
    @event("chat:message")
    async def on_chat_message(self, sid: str, text: str) -> list[str]:
        return ["chat message", text]

    @event("user_join")
    def joining(self, sid: str) -> str:
        return "joining"

    async def on_plain(self, sid: str) -> str:
        return "plain"

    async def on_user_join(self, user_id: str) -> None:
        raise AssertionError("no client can call a hook")

    async def on_tell(self, sid: str) -> None:
        await self.enter_room(sid, "latchkey:user:ada")


class Gateway(Chat):
    """Handles every other event too."""

    @event("late")
    async def late(self, sid: str) -> str:
        return "late"

    async def on_chat_message(self, sid: str, text: str) -> list[str]:
        return ["overridden", text]

    async def on_any(self, sid: str, event: str, *args: Any) -> list[Any]:
        return [event, *args]


@each_client
async def test_a_decorator_gives_a_method_events_of_any_name(
    tmp_path: Path, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands beside methods named on_EVENT; the decorated one has no event of its own name."""
    modules = fork(monkeypatch, namespaces=[("/chat", Chat)])
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        chat = await joined(visitor, "websocket", namespaces=("/chat",))
        for name in ("chat message", "chat:message"):
            assert await chat.call(name, "hi", namespace="/chat") == ["chat message", "hi"]
        assert await chat.call("plain", namespace="/chat") == "plain"
        assert await chat.call("user_join", namespace="/chat") == "joining"
        for name in ("chat_message", "user_leave", "any", "joining"):
            answer = await chat.call(name, namespace="/chat")
            assert answer == {"error": "unknown event"}, name
        metrics = (await visitor.get("/metrics"))[1]
        assert 'event="chat message",namespace="/chat"' in metrics


async def test_a_catch_all_handles_events_without_a_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the name and the arguments. An override keeps the decorators of its method."""
    modules = fork(monkeypatch, namespaces=[("/chat", Gateway)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        chat = await joined(visitor, "websocket", namespaces=("/chat",))
        assert await chat.call("no such", 1, {"a": 2}, namespace="/chat") == [
            "no such",
            1,
            {"a": 2},
        ]
        assert await chat.call("any", namespace="/chat") == ["any"]
        assert await chat.call("user_leave", "eve", namespace="/chat") == ["user_leave", "eve"]
        assert await chat.call("plain", namespace="/chat") == "plain"
        assert await chat.call("late", namespace="/chat") == "late"
        assert await chat.call("chat message", "hi", namespace="/chat") == ["overridden", "hi"]
        namespace = site.services.socket_server.namespace_handlers["/chat"]
        before = len(namespace._by_event)
        for number in range(5):
            await chat.call(f"event {number}", namespace="/chat")
        assert len(namespace._by_event) == before, "clients choose these names"
        assert 'event="any",namespace="/chat"' in (await visitor.get("/metrics"))[1]


class Silent(BaseNamespace):
    """Says nothing to events that it does not have."""

    ignore_unknown = True

    async def on_known(self, sid: str) -> int:
        return 1


async def test_unknown_events_can_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no ack and no line in the log; metrics count them."""
    modules = fork(monkeypatch, namespaces=[("/silent", Silent)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        silent = await joined(visitor, "websocket", namespaces=("/silent",))
        with caplog.at_level(logging.INFO):
            with pytest.raises(RuntimeError, match="timed out"):
                await silent.call("unknown", namespace="/silent", seconds=0.1)
            assert await silent.call("known", namespace="/silent") == 1
        assert not [line for line in caplog.records if line.name.startswith("latchkey")]
        assert site.services.counters.event_errors["unknown"] == 1


class Clash(BaseNamespace):
    """Two methods of one event, which the server refuses when it starts."""

    @event("said")
    async def one(self, sid: str) -> None: ...

    @event("said")
    async def two(self, sid: str) -> None: ...


class ClashWithPlain(BaseNamespace):
    """The same with a method named on_EVENT."""

    @event("said")
    async def one(self, sid: str) -> None: ...

    async def on_said(self, sid: str) -> None: ...


class OldEvent(BaseNamespace):
    """An event that has the name of a hook."""

    async def on_user_join(self, sid: str, room: str) -> None: ...  # type: ignore[override]


class OldAny(BaseNamespace):
    """A catch-all without the name of the event."""

    async def on_any(self, sid: str) -> None: ...


class LongConnect(BaseNamespace):
    """A connect handler that wants more than there is."""

    async def on_connect(self, sid: str, environ: Any, auth: Any, more: Any) -> None: ...


class OldMethod(BaseNamespace):
    """A method that has the name of a switch."""

    def validate(self, text: str) -> bool:  # type: ignore[override]  # pyright: ignore
        return bool(text)


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (OldMethod, "OldMethod.validate is a switch of namespaces.*another name"),
        (Clash, "Clash: one and two both handle the event 'said'"),
        (ClashWithPlain, "ClashWithPlain: on_said and one both handle the event 'said'"),
        (OldEvent, r"OldEvent.on_user_join is called .* @event\('user_join'\)"),
        (OldAny, r"OldAny.on_any is called by the server with \(sid, event, \*args\)"),
        (
            LongConnect,
            r"LongConnect.on_connect is called by the server with \(sid, environ, auth\)",
        ),
    ],
)
async def test_a_namespace_that_cannot_work_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type, words: str
) -> None:
    """The sentence says what to do."""
    modules = fork(monkeypatch, namespaces=[("/bad", cls)])
    with pytest.raises(ValueError, match=words):
        async with serve(tmp_path, modules=modules):
            pass


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "*"])
def test_a_reserved_name_is_refused_where_it_is_written(name: str) -> None:
    """No client can send it."""
    with pytest.raises(ValueError, match="choose another"):
        event(name)


class Guarded(BaseNamespace):
    """Refuses clients as their `auth` says."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any) -> bool:
        if auth == {"how": "library"}:
            raise LibraryRefused("no seat", {"seats": 0})
        if auth == {"how": "message"}:
            raise ConnectionRefused("banned")
        if auth == {"how": "false"}:
            return False
        raise ConnectionRefused("banned", {"until": "2027", "by": ["eve"]})


@pytest.mark.parametrize(
    ("how", "message", "data"),
    [
        ("library", "no seat", {"seats": 0}),
        ("message", "banned", None),
        ("false", "Connection rejected by server", None),
        ("data", "banned", {"until": "2027", "by": ["eve"]}),
    ],
)
async def test_a_connect_is_refused_with_a_message_and_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str, data: Any
) -> None:
    """Either client gets both in its connect error, and keeps its other namespaces."""
    modules = fork(monkeypatch, namespaces=[("/guarded", Guarded)])
    async with (
        serve(tmp_path, modules=modules) as site,
        NodeVisitor(site.url) as official,
        PythonVisitor(site.url) as python,
    ):
        socket = await joined(official, "websocket", namespaces=("/",))
        await socket.join("/guarded", auth={"how": how})
        assert socket.connect_errors("/guarded") == [(message, data)]
        assert await socket.call("incr") == 1
        errors: list[Any] = []
        other = await python.socket("websocket", namespaces=("/",))
        other.client.on("connect_error", errors.append, namespace="/guarded")
        await other.client._send_packet(
            other.client.packet_class(0, data={"how": how}, namespace="/guarded")
        )
        assert await other.call("incr") == 1
        assert errors == [
            {"message": message} if data is None else {"message": message, "data": data}
        ]


async def test_clients_cannot_enter_the_room_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that lets clients choose the room raises ValueError."""
    modules = fork(monkeypatch, namespaces=[("/chat", Chat)])
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        chat = await visitor.socket("websocket", namespaces=("/chat",))
        assert await chat.call("tell", namespace="/chat") == {"error": "internal error"}
        server = site.services.socket_server
        for act in (server.enter_room, server.leave_room):
            with pytest.raises(ValueError, match="choose another"):
                await act("sid", "latchkey:user:ada")
        with pytest.raises(ValueError, match="choose another"):
            await server.close_room("latchkey:user:ada")
