"""Emits between processes of this release, and beside one of an older release."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import PythonVisitor
from tests.support.redis_server import shared_server
from tests.support.site import Site
from tests.support.sites import sites, tabs_at
from tests.support.waiting import until

pytestmark = pytest.mark.limit(60)


class Listener:
    """A program that hears what is published on some channels."""

    def __init__(self, redis: Any, *channels: str) -> None:
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(*channels)
        self._pubsub.get_message(timeout=5)
        self.close = self._pubsub.close

    def heard(self) -> list[tuple[str, bytes]]:
        """Return channel and message of what has come since the last call."""
        found = []
        while (message := self._pubsub.get_message(timeout=0.2)) is not None:
            found.append((message["channel"].decode(), message["data"]))
        return [each for each in found if each[1] != b'{"method":"join"}']


@pytest.fixture
def redis() -> Iterator[Any]:
    with shared_server().client() as client:
        yield client


async def batching(*places: Site) -> None:
    """Wait until these processes know that all listeners take batches."""
    managers = [place.services.socket_server.manager for place in places]
    await until(lambda: all(manager._batching and not manager._alone for manager in managers))


async def test_the_emits_of_a_turn_are_one_message(tmp_path: Path, redis: Any) -> None:
    """Sockets of another process get each of them once, in order, with other messages between."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        # it knows both, as a process of this release does
        listener = Listener(redis, "socketio", "latchkey:emits")
        await batching(one, two)
        listener.heard()
        emit = one.services.socket_server.emit
        for number in range(20):
            await emit("news", number)
        await until(lambda: all(len(tab.received) == 20 for tab in tabs))
        assert [channel for channel, _ in listener.heard()] == ["latchkey:emits"]
        await emit("first", 1)
        await emit("second", b"bytes")  # which batches do not hold
        await emit("third", 3, to=["\udcff", "no such room"])
        await emit("fourth", (4, "ä"), to=None)
        await until(lambda: all(len(tab.received) == 23 for tab in tabs))
        wanted = [("first", (1,)), ("second", (b"bytes",)), ("fourth", (4, "ä"))]
        assert [tab.received[20:] for tab in tabs] == [wanted, wanted]
        channels = [channel for channel, _ in listener.heard()]
        assert channels == ["latchkey:emits", "socketio", "socketio", "latchkey:emits"]
        listener.close()


async def test_rooms_and_skipped_sockets_are_those_of_the_emit(tmp_path: Path) -> None:
    """A socket of several rooms gets an event once; one that is skipped gets none."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two, two)
        sids = [tab.client.get_sid() for tab in tabs]
        for place, sid in ((two, sids[1]), (two, sids[2])):
            await place.services.socket_server.enter_room(sid, "blue")
        await two.services.socket_server.enter_room(sids[1], "red")
        await batching(one, two)
        emit = one.services.socket_server.emit
        await emit("both", room=["red", "blue"])
        await emit("skipped", room="blue", skip_sid=sids[1])
        await emit("skipped too", room="blue", skip_sid=sids[1:])
        await emit("elsewhere", namespace="/nowhere")
        await emit("last")
        await until(lambda: all(tab.received[-1:] == [("last", ())] for tab in tabs))
        names = [[name for name, _ in tab.received] for tab in tabs]
        assert names == [["last"], ["both", "last"], ["both", "skipped", "last"]]


async def test_a_process_of_an_older_release_hears_every_emit(tmp_path: Path, redis: Any) -> None:
    """From the moment at which it joins, before it serves; batches come again when it has left."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        await batching(one, two)
        older = Listener(redis, "socketio")  # it knows no other channel
        joins = one.services.socket_server.manager._joins
        redis.publish("socketio", b'{"method":"join"}')
        await until(lambda: one.services.socket_server.manager._joins > joins)
        emit = one.services.socket_server.emit
        await emit("news", 1)
        await until(lambda: all(tab.received == [("news", (1,))] for tab in tabs))
        ((channel, message),) = older.heard()
        assert channel == "socketio"
        assert b'"method":"emit"' in message
        await one.services.socket_server.manager.count_others()
        await emit("news", 2)
        await until(lambda: all(len(tab.received) == 2 for tab in tabs))
        assert len(older.heard()) == 1
        older.close()
        await batching(one, two)
        await emit("news", 3)
        await until(lambda: all(len(tab.received) == 3 for tab in tabs))
