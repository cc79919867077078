"""Emits, rooms and callbacks between processes over one Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import socketio

from app.transport.socketio import packet_json
from tests.support.browsers import PythonVisitor
from tests.support.redis_server import empty_redis, shared_server
from tests.support.site import Site
from tests.support.sites import sites, tabs_at
from tests.support.waiting import until


async def test_a_page_emits_to_sockets_of_all_processes(tmp_path: Path) -> None:
    """Sockets of the session get the event in order and once; others do not."""
    async with (
        sites(tmp_path, 3) as places,
        PythonVisitor(places[0].url) as visitor,
        PythonVisitor(places[0].url) as stranger,
    ):
        await visitor.get("/")
        tabs = await tabs_at(visitor, *places)
        (other,) = await tabs_at(stranger, places[1])
        for _ in range(20):
            await visitor.incr()
        wanted = [("current count", (count,)) for count in range(1, 21)]
        await until(lambda: all(len(tab.received) == 20 for tab in tabs))
        assert [tab.received for tab in tabs] == [wanted] * 3
        assert other.received == []


@pytest.mark.parametrize(
    "data", [None, "text", ("two", 2), {"deep": [1, b"bytes"]}, b"\0\xff", (b"1", {"2": b"3"})]
)
async def test_data_arrives_as_it_was_sent(tmp_path: Path, data: Any) -> None:
    """The same at the process that emits and at the other one."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        await one.services.socket_server.emit("news", data)
        await until(lambda: all(tab.received for tab in tabs))
        assert tabs[0].received == tabs[1].received


def nested(depth: int) -> list[Any]:
    """Return a list in a list, and so on."""
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    "data",
    [
        nested(packet_json.MAX_DEPTH + 50),
        [[1]] * (packet_json.MAX_CONTAINERS + 1),
        [1e300] * (packet_json.MAX_LARGE_EXPONENTS + 1),
    ],
    ids=["deep", "containers", "exponents"],
)
async def test_the_limits_for_clients_do_not_bind_other_processes(
    tmp_path: Path, data: Any
) -> None:
    """A handler may send more than a client may, to clients of any process."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tabs = await tabs_at(visitor, one, two)
        await one.services.socket_server.emit("news", data)
        await until(lambda: all(tab.received for tab in tabs))
        assert [tab.received for tab in tabs] == [[("news", (data,))]] * 2


async def remote(tmp_path: Path, visitor: Any, one: Site, two: Site) -> tuple[Any, str]:
    """Return a tab at the second site, and its sid there."""
    (tab,) = await tabs_at(visitor, two)
    return tab, tab.client.get_sid("/")


async def test_a_callback_comes_back_from_another_process(tmp_path: Path) -> None:
    """The client's ack reaches the process that emitted, and the callback is forgotten."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tab, sid = await remote(tmp_path, visitor, one, two)
        tab.client.on("question", lambda text: (text, 42))
        answers: list[Any] = []
        server = one.services.socket_server
        await server.emit("question", "why", to=sid, callback=lambda *args: answers.append(args))
        await until(lambda: answers == [("why", 42)])
        assert await server.call("question", "how", to=sid, timeout=5) == ("how", 42)


@pytest.mark.parametrize("count", [1, 12])
async def test_bytes_in_an_answer_come_back_from_another_process(
    tmp_path: Path, count: int
) -> None:
    """As bytes, also where a server may send less of them in one message."""
    async with (
        sites(tmp_path, max_attachments=12) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        tab, sid = await remote(tmp_path, visitor, one, two)
        answer = {"n": [bytes([number]) for number in range(count)]}
        tab.client.on("question", lambda text: (answer, text))
        server = one.services.socket_server
        assert await server.call("question", "a", to=sid, timeout=5) == (answer, "a")


async def test_rooms_and_disconnects_work_from_another_process(tmp_path: Path) -> None:
    """enter_room, leave_room, close_room and disconnect take a sid of any process."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        tab, sid = await remote(tmp_path, visitor, one, two)
        server, rooms = one.services.socket_server, two.services.socket_server
        await server.enter_room(sid, "red")
        await until(lambda: "red" in rooms.rooms(sid))
        await server.emit("news", 1, room="red")
        await server.leave_room(sid, "red")
        await server.emit("news", 2, room="red")
        await server.enter_room(sid, "blue")
        await server.emit("news", 3, room="blue", skip_sid=sid)
        await server.close_room("blue")
        await server.emit("news", 4, room="blue")
        await server.emit("news", 5, to=sid)
        await until(lambda: len(tab.received) == 2)
        assert [args for _, args in tab.received] == [(1,), (5,)]
        assert not {"red", "blue"} & set(rooms.rooms(sid))
        await server.disconnect(sid)
        await until(lambda: not tab.client.connected)
        assert len(two.services.connections) == 0


async def test_another_program_can_emit(tmp_path: Path) -> None:
    """A script with python-socketio's own manager reaches these sockets."""
    url = empty_redis()
    async with sites(tmp_path, 1, url=url) as (site,), PythonVisitor(site.url) as visitor:
        (tab,) = await tabs_at(visitor, site)
        script = socketio.AsyncRedisManager(url, write_only=True)
        await script.emit("news", {"from": "a script"}, namespace="/")
        await until(lambda: tab.received == [("news", ({"from": "a script"},))])
        await script.redis.aclose()


@pytest.mark.attack("A43")
async def test_invalid_messages_on_the_channels_are_dropped(tmp_path: Path) -> None:
    """The messages after them are handled."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        (tab,) = await tabs_at(visitor, two)
        with shared_server().client() as redis:
            for channel in ("socketio", "latchkey:emits", "latchkey:ended", "latchkey:gone"):
                for message in (b"", b"\xff", b"[]", b"1", b'{"method":"fly"}', b'{"method":[]}'):
                    redis.publish(channel, message)
        await visitor.incr()
        visitor.url = one.url
        await visitor.incr()
        await until(lambda: len(tab.received) == 2)


async def test_a_single_process_publishes_nothing(tmp_path: Path) -> None:
    """The first emit after a second process has joined is published."""
    url = empty_redis()
    async with sites(tmp_path / "a", 1, url=url) as (one,), PythonVisitor(one.url) as visitor:
        await until(lambda: one.services.socket_server.manager._alone)
        with shared_server().client() as redis:
            redis.config_resetstat()
            await visitor.incr()
            assert "cmdstat_publish" not in redis.info("commandstats")
            async with sites(tmp_path / "b", 1, url=url, process_number=1) as (two,):
                (tab,) = await tabs_at(visitor, two)
                visitor.url = one.url
                await visitor.incr()
                await until(lambda: tab.received)
            assert "cmdstat_publish" in redis.info("commandstats")
        await until(lambda: one.services.socket_server.manager._alone)
