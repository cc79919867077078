"""Several processes over one Redis: edits and ends reach all of them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import PythonVisitor, browser, each_client, ended, session_id
from tests.support.clock import Clock
from tests.support.paths import ROOT
from tests.support.process import process
from tests.support.redis_server import empty_redis, shared_server
from tests.support.sites import KEYS, sites, tabs_at
from tests.support.users import user_id
from tests.support.waiting import until


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
@pytest.mark.attack("A7")
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


@each_client
@pytest.mark.attack("A5")
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
