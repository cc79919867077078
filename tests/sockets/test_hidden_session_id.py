"""A session id is a credential: only the cookie, the store and the environ contain it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.sessions.errors import SessionEnded
from app.stores import LeaseLost, Record, RecordGone
from app.stores.redis.subscriptions import Subscriber
from tests.sessions.test_concurrency import Unlocked
from tests.support.browsers import PythonVisitor, session_id
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.site import serve
from tests.support.sites import sites
from tests.support.waiting import until


class Gossip(BaseNamespace):
    """Tells clients everything that python-socketio knows about them."""

    async def on_rooms(self, sid: str) -> list[str]:
        return [str(room) for room in self.rooms(sid)]

    async def on_tell(self, sid: str) -> None:
        await self.emit_to_session(sid, "told", sid)

    async def on_edit(self, sid: str) -> None:
        async with self.session_for(sid) as data:
            data.count += 1
            await asyncio.sleep(0.05)

    async def on_fail(self, sid: str) -> None:
        raise RuntimeError(repr(await self.session_for(sid)), repr(self.session_for(sid)))

    async def on_late(self, sid: str) -> None:
        await self.services.sessions.end((await self.session_for(sid)).id, "logout")
        try:
            await self.session_for(sid)
        except SessionEnded as error:
            raise RuntimeError(str(error), repr(error)) from error


class Page(BaseHandler):
    """A page whose handler fails with the session in a local variable."""

    async def get(self) -> None:
        raise RuntimeError(repr(self.session), repr(self.session.record))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return fork(monkeypatch, namespaces=[("/gossip", Gossip)], routes=[("/page", Page)])


@pytest.mark.attack("A8")
async def test_no_room_event_log_or_page_shows_the_session_id(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither at any log level, nor when handlers fail or the session ends during an event."""
    caplog.set_level(logging.DEBUG)
    told: list[Any] = []
    async with (
        serve(tmp_path, modules=(*modules, "handlers.account")) as site,
        PythonVisitor(site.url) as visitor,
    ):
        await visitor.sign_up("ann")
        id = session_id(visitor.cookie)
        assert len(id) == 43
        one = await visitor.socket("websocket", namespaces=("/gossip", "/account"))
        two = await visitor.socket("polling", namespaces=("/gossip",))
        for socket in (one, two):
            socket.client.on("*", lambda *event: told.append(event), namespace="/gossip")
        rooms = await one.call("rooms", namespace="/gossip")
        assert len(rooms) == 3  # of the client, its session and its user
        told.append(rooms)
        await one.client.emit("tell", namespace="/gossip")
        await until(lambda: len(told) == 2)
        for page in ("/", "/account", "/page", "/metrics", "/healthz", "/readyz"):
            told.append((await visitor.get(page))[1])
        told.append(await one.call("fail", namespace="/gossip"))
        told.append(one.events("/gossip") + one.events("/account"))
        await one.client.emit("late", namespace="/gossip")
        await until(lambda: not one.client.connected)
        names = site.services.socket_server.manager.rooms
    assert "RuntimeError" in caplog.text
    for shown in (told, names, caplog.text, [repr(record) for record in caplog.records]):
        assert id not in str(shown)


async def test_a_store_that_refuses_a_save_logs_no_session_id(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The log line of LeaseLost names the event, not the session."""
    async with (
        serve(tmp_path, store=Unlocked(checks=True), modules=modules) as site,
        PythonVisitor(site.url) as visitor,
    ):
        socket = await visitor.socket("websocket", namespaces=("/gossip",))
        id = session_id(visitor.cookie)
        calls = [socket.call("edit", namespace="/gossip") for _ in range(3)]
        errors = [answer for answer in await asyncio.gather(*calls) if answer]
        assert errors == [{"error": "the session store does not answer; try again"}] * 2
        assert "another process wrote" in caplog.text
        assert id not in caplog.text
        await socket.close()


@pytest.mark.parametrize("kind", [SessionEnded, RecordGone, LeaseLost])
def test_an_error_of_a_session_hides_its_id(kind: Callable[[str], Exception]) -> None:
    """It is in `args`, and in no string."""
    error = kind("the-id")
    assert error.args == ("the-id",)
    assert "the-id" not in f"{error} {error!r}"


def test_a_record_shows_its_public_id_alone() -> None:
    """Logs and tracebacks that show values contain no other id."""
    record = Record(id="the-id", data=b"the-data", created=0, seen=0, expires=0)
    assert "the-id" not in repr(record)
    assert "the-data" not in repr(record)


async def test_emits_to_a_session_reach_other_processes_without_its_id(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """No message of either channel of emits contains it."""
    async with (
        sites(tmp_path, modules=modules) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        published: list[bytes] = []
        here: Any = one.services.socket_server.manager

        def overheard(receive: Callable[[bytes], None]) -> Callable[[bytes], None]:
            def hear(message: bytes) -> None:
                published.append(message)
                receive(message)

            return hear

        channels = here.subscriber().channels
        here._redis.subscribe(
            Subscriber({channel: overheard(receive) for channel, receive in channels.items()})
        )
        first = await visitor.socket("websocket", namespaces=("/gossip",))
        visitor.url = two.url
        second = await visitor.socket("websocket", namespaces=("/gossip",))
        await second.client.emit("tell", namespace="/gossip")
        await until(lambda: first.received)
        await until(lambda: published)
        assert session_id(visitor.cookie).encode() not in b"".join(published)
        await first.close()
        await second.close()
