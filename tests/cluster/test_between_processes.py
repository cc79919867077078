"""Several processes over one Redis: ends, emits and edits reach all of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
import socketio

from app.cluster import presence
from app.transport.socketio import packet_json
from tests.support.browsers import PythonVisitor, browser, each_client, ended, joined, session_id
from tests.support.clock import Clock
from tests.support.devices import id_of, revoke, shown, watching
from tests.support.paths import ROOT
from tests.support.process import process
from tests.support.redis_server import empty_redis, shared_server
from tests.support.site import Site, serve
from tests.support.sites import KEYS, sites, tabs_at
from tests.support.users import user_id
from tests.support.waiting import until

# -- sessions --


async def test_a_session_is_the_same_in_every_process(tmp_path: Path) -> None:
    """A cookie of one works at the other; pages and events of both raise the count."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        assert await visitor.incr() == 1
        here, there = await tabs_at(visitor, one, two)
        assert await here.call("incr") == 2
        assert await there.call("incr") == 3
        assert await visitor.incr() == 4
        assert await here.call("count") == 4


async def test_processes_of_one_data_folder_share_its_accounts(tmp_path: Path) -> None:
    """A user who registered at one signs in at the other."""
    flags = (f"--store={empty_redis()}", f"--secret-keys={KEYS[0]}")
    async with (
        process(tmp_path, *flags) as one,
        process(tmp_path, *flags, "--process-number=1") as two,
        PythonVisitor(one.url) as ann,
        PythonVisitor(two.url) as there,
    ):
        await ann.sign_up("ann")
        await there.sign_in("ann")


@pytest.mark.limit(60)
async def test_400_increments_of_four_processes_are_all_kept(tmp_path: Path) -> None:
    """Pages and events of one session at four real processes: each count is returned once."""
    flags = (f"--store={empty_redis()}", f"--secret-keys={KEYS[0]}")
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(
                process(tmp_path / str(number), *flags, f"--process-number={number}")
            )
            for number in range(4)
        ]
        visitor = await stack.enter_async_context(PythonVisitor(running[0].url))
        await visitor.get("/")
        tabs = await tabs_at(visitor, *running)  # type: ignore[arg-type]

        async def page(url: str) -> int:
            async with visitor.http.post(url + "/incr") as answer:
                return int(await answer.text())

        async def pages(url: str) -> list[int]:
            return [await page(url) for _ in range(50)]

        async def events(tab: Any) -> list[int]:
            return [await tab.call("incr") for _ in range(50)]

        counts = await asyncio.gather(
            *(pages(site.url) for site in running), *(events(tab) for tab in tabs)
        )
        assert sorted(itertools.chain(*counts)) == list(range(1, 401))
        assert await tabs[0].call("count") == 400


async def test_a_redis_user_with_few_rights_is_enough(tmp_path: Path) -> None:
    """The rule in docs/redis.md lets everything work, and nothing else be touched."""
    rule = next(
        line.partition("SETUSER ")[2].strip("`. ")
        for line in (ROOT / "docs" / "redis.md").read_text().splitlines()
        if "ACL SETUSER" in line
    )
    url = empty_redis()
    limited = url.replace("//", "//latchkey:PASSWORD@")
    with shared_server().client() as redis:
        redis.execute_command("ACL", "SETUSER", *rule.split())
        try:
            async with (
                sites(tmp_path, url=limited, expiry_interval=0.05) as (one, two),
                PythonVisitor(one.url) as visitor,
            ):
                tabs = await tabs_at(visitor, one, two)
                assert await tabs[0].call("incr") == 1
                assert await tabs[1].call("incr") == 2
                await until(lambda: tabs[0].received)
                assert (await visitor.get("/readyz"))[0] == 200
                await two.services.sessions.purge(10)
                await two.services.devices.presence.transports([session_id(visitor.cookie)])
                await visitor.sign_up("ada")
                assert (
                    len(await one.services.sessions.store.of_user(await user_id(one, visitor))) == 1
                )
                assert (await visitor.post("/logout"))[0] == 204
                await until(lambda: all(ended(tab) for tab in tabs))
            assert redis.acl_log() == []
        finally:
            redis.acl_deluser("latchkey")


# -- ends --


@each_client
async def test_a_logout_closes_the_sockets_of_all_processes(tmp_path: Path, client: str) -> None:
    """Each gets the reason once, on both transports."""
    async with sites(tmp_path, 3) as places, browser(client, places[0].url) as visitor:
        tabs = await tabs_at(visitor, *places)
        tabs += await tabs_at(visitor, *places, mode="polling")
        visitor.url = places[1].url
        assert (await visitor.post("/logout"))[0] == 204
        await until(lambda: all(ended(tab) for tab in tabs))
        told = {"reason": "logout", "reconnect": True}
        assert [ended(tab) for tab in tabs] == [[told]] * 6
        await until(lambda: not any(len(site.services.connections) for site in places))


async def test_an_end_is_broadcast_once(tmp_path: Path) -> None:
    """The process that ends the session ignores its own message, and receivers send none."""
    async with sites(tmp_path, 3) as places, PythonVisitor(places[0].url) as visitor:
        heard: list[tuple[int, bool]] = []
        for number, site in enumerate(places):

            async def note(id: str, reason: str, record: object, number: int = number) -> None:
                heard.append((number, record is not None))

            site.services.sessions.on_end.append(note)
        await visitor.incr()
        assert (await visitor.post("/logout"))[0] == 204
        await until(lambda: len(heard) >= 3)
        await asyncio.sleep(0.3)
        assert sorted(heard) == [(0, True), (1, False), (2, False)]


async def test_a_login_closes_the_old_sockets_of_all_processes(tmp_path: Path) -> None:
    """Their reason is `regenerated`, and they may reconnect."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        await visitor.incr()
        (tab,) = await tabs_at(visitor, two)
        visitor.url = one.url
        await visitor.sign_up("ada")
        await until(lambda: ended(tab) == [{"reason": "regenerated", "reconnect": True}])


async def test_idle_sessions_end_once_and_everywhere(tmp_path: Path) -> None:
    """Whichever process is first, all sockets close, and the hook runs once in all."""
    clock = Clock()
    options: dict[str, Any] = {"clock": clock, "expiry_interval": 0.05}
    async with sites(tmp_path, **options) as places, PythonVisitor(places[0].url) as visitor:
        ends: list[str] = []

        async def note(id: str, reason: str, record: object) -> None:
            if record is not None:
                ends.append(reason)

        for site in places:
            site.services.sessions.on_end.append(note)
        tabs = await tabs_at(visitor, *places)
        clock.now += 86_401
        await until(lambda: all(ended(tab) for tab in tabs))
        assert {end["reason"] for tab in tabs for end in ended(tab)} == {"idle"}
        # what is published comes before the reply, so both may have closed their sockets by then
        await until(lambda: bool(ends))
        assert ends == ["idle"]


async def test_activity_in_one_process_keeps_the_sockets_of_another(tmp_path: Path) -> None:
    """Just before the deadline a client does something at one; the other does not end it."""
    clock = Clock()
    options: dict[str, Any] = {"clock": clock, "expiry_interval": 0.05}
    async with sites(tmp_path, **options) as (one, two), PythonVisitor(one.url) as visitor:
        here, there = await tabs_at(visitor, one, two)
        one.services.expiry.stop()  # so that nothing but the event itself can write it
        clock.now += 86_390
        assert await here.call("count") == 0
        await asyncio.sleep(0.2)
        clock.now += 20
        await asyncio.sleep(0.5)
        assert ended(here) == ended(there) == []
        clock.now += 86_400
        await until(lambda: ended(there))


async def test_a_lost_broadcast_of_an_end_is_noticed_by_the_next_event(tmp_path: Path) -> None:
    """A process may die between the removal and the message."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        (tab,) = await tabs_at(visitor, two)
        assert await tab.call("incr") == 1
        await one.services.sessions.store.destroy(session_id(visitor.cookie))
        await tab.client.emit("incr")
        await until(lambda: ended(tab))


async def test_missed_ends_are_found_after_a_reconnect(tmp_path: Path) -> None:
    """Broadcasts during a lost connection are reconciled at once."""
    options: dict[str, Any] = {"expiry_interval": 3600}
    async with sites(tmp_path, **options) as (one, two), PythonVisitor(one.url) as visitor:
        (tab,) = await tabs_at(visitor, two)
        with shared_server().client() as redis:
            # as if somebody had ended it just while the connection was down
            redis.delete("latchkey:{" + session_id(visitor.cookie) + "}")
            await asyncio.sleep(0.2)
            assert ended(tab) == []
            redis.client_kill_filter(_type="pubsub")
        await until(lambda: ended(tab) == [{"reason": "revoked", "reconnect": True}])


# -- emits --


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


async def test_invalid_messages_on_the_channels_are_dropped(tmp_path: Path) -> None:
    """The messages after them are handled."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        (tab,) = await tabs_at(visitor, two)
        with shared_server().client() as redis:
            for channel in ("socketio", "latchkey:ended", "latchkey:gone"):
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


# -- presence --


async def connected(site: Site, id: str, wanted: Sequence[str]) -> bool:
    """Whether this process knows these transports of a session, in all processes."""
    found = await site.services.devices.presence.transports([id])
    return sorted(found.get(id, ())) == sorted(wanted)


async def test_every_process_knows_the_connections_of_all(tmp_path: Path) -> None:
    """With their transports, as they come, are upgraded and go."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        await visitor.incr()
        id = session_id(visitor.cookie)

        async def shows(site: Site, *wanted: str) -> None:
            await until(lambda: connected(site, id, wanted))

        (first,) = await tabs_at(visitor, one, mode="polling")
        (second,) = await tabs_at(visitor, two)
        await shows(one, "polling", "websocket")
        await shows(two, "polling", "websocket")
        (third,) = await tabs_at(visitor, two, mode="upgraded")
        await shows(one, "polling", "websocket", "websocket")
        for tab in (first, second, third):
            await tab.close()
        await until(lambda: not len(one.services.connections) + len(two.services.connections))
        await shows(one)
        assert await one.services.devices.presence.transports([id, "nobody"]) == {}


async def test_the_list_of_devices_has_connections_of_all_processes(tmp_path: Path) -> None:
    """Each process shows its users what they have open at the other one, and can end it there."""
    async with (
        sites(tmp_path) as (one, two),
        PythonVisitor(one.url) as visitor,
        PythonVisitor(two.url) as other,
    ):
        await visitor.sign_up("ada")
        ada = await user_id(one, visitor)
        session = await two.services.sessions.sign_in(
            two.services.sessions.visitor(remote_address="::1", user_agent=""),
            ada,
            remote_address="::1",
            user_agent="",
        )
        cookie = two.app.web.settings["web"].session_cookie.set(
            session.id, secure=False, max_age=1000
        )
        other.jar.update_cookies(SimpleCookie(cookie))
        (here,) = await tabs_at(visitor, one)
        (there,) = await tabs_at(other, two)
        await until(lambda: connected(one, session.id, ["websocket"]))
        rows = await one.services.devices.rows(ada, [])
        assert [row.connections for row in rows.values()] == [["websocket"], ["websocket"]]
        assert await one.services.devices.revoke_others(ada, session_id(visitor.cookie)) == 1
        await until(lambda: ended(there) == [{"reason": "revoked", "reconnect": True}])
        assert ended(here) == []


async def test_connections_of_a_dead_process_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis forgets its list after the timeout; the lists of running processes stay."""
    monkeypatch.setattr(presence, "_PRESENCE_TIMEOUT", 2)
    monkeypatch.setattr(presence, "_HEARTBEAT_INTERVAL", 0.5)
    url = empty_redis()
    async with sites(tmp_path / "a", url=url) as (one, two), PythonVisitor(one.url) as visitor:
        await visitor.incr()
        id = session_id(visitor.cookie)
        await tabs_at(visitor, one, two)
        await until(lambda: connected(one, id, ["websocket"] * 2))
        # what a dead process does: it stops to tell that it is alive
        await two.services.devices.presence._background.stop()
        await asyncio.sleep(3)  # more than a life, in which the living have to tell that they are
        assert await connected(one, id, ["websocket"])
        assert await connected(two, id, ["websocket"] * 2)
        with shared_server().client() as redis:
            assert redis.scard("latchkey:processes") == 1


async def test_a_process_that_stops_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the last session only rates are left, which Redis removes within a minute, and a job.

    Rates outlive a process on purpose: a process that restarts must not forget the attempts that
    were made a moment ago. Nor does the job of the audit trail begin its interval anew.
    """
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        await tabs_at(visitor, one, two)
        id = session_id(visitor.cookie)
        for site in (one, two):
            await until(lambda site=site: connected(site, id, ["websocket"] * 2))
        assert (await visitor.post("/logout"))[0] == 204
    with shared_server().client() as redis:
        left = set(redis.keys("latchkey:*"))
        rates = set(redis.keys("latchkey:rate:*"))
        assert left == {*rates, b"latchkey:job:latchkey.audit_trail"}
        assert all(0 < redis.ttl(key) <= 60 for key in rates)


# -- devices --


async def test_a_list_of_devices_follows_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing in, coming, going and ending at one process shows on a page that another serves."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 3600)
    shared: dict[str, Any] = {"store": empty_redis(), "secret_keys": KEYS}
    async with (
        serve(tmp_path, **shared) as one,
        serve(tmp_path, **shared, process_number=1) as two,  # the same folder, so its accounts
        PythonVisitor(one.url) as here,
        PythonVisitor(two.url) as there,
    ):
        await here.sign_up("ann")
        watch = await watching(here)
        await shown(watch, lambda rows: rows[0]["connections"] == ["websocket"])
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        socket = await joined(there, "websocket")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        await socket.close()
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        socket = await joined(there, "websocket")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        assert (await revoke(here, "json", id_of(there))).status == 204
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        await shown(watch, lambda rows: len(rows) == 1)
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        await there.post("/logout")
        await shown(watch, lambda rows: len(rows) == 1)
