"""The users who are present at several processes over one Redis."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from app.cluster import user_presence
from app.presence import local_presence, presence
from tests.support.browsers import PythonVisitor, browser, each_client, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.process import process
from tests.support.redis_server import RedisServer, empty_redis
from tests.support.site import Site, serve
from tests.support.sites import KEYS, sites
from tests.support.users import user_id
from tests.support.waiting import until


class Lobby(BaseNamespace):
    """Notes who joins and leaves, and at which process it was told."""

    told: list[tuple[str, str, int]] = []

    async def on_user_join(self, user_id: str) -> None:
        self.told.append(("join", user_id, self.services.settings.process_number))
        await self.emit("joined", user_id)

    async def on_user_leave(self, user_id: str) -> None:
        self.told.append(("leave", user_id, self.services.settings.process_number))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """A namespace with hooks, and times so short that tests are."""
    monkeypatch.setattr(local_presence, "GRACE", 0.2)
    monkeypatch.setattr(presence, "_BEAT_INTERVAL", 0.1)
    monkeypatch.setattr(user_presence, "_STOP_TIMEOUT", 0.5)
    monkeypatch.setattr(Lobby, "told", [])
    return fork(monkeypatch, namespaces=[("/lobby", Lobby)])


def told() -> list[str]:
    return [what for what, *_ in Lobby.told]


async def at(site: Site, visitor: Any) -> Any:
    """Open a socket of a visitor at this process."""
    visitor.url = site.url
    return await joined(visitor, "websocket", namespaces=("/lobby",))


@each_client
async def test_one_process_tells_of_a_user_at_several(
    tmp_path: Path, client: str, modules: tuple[str, ...]
) -> None:
    """The first socket of the site joins, the last one leaves, wherever they are."""
    async with (
        sites(tmp_path, 3, modules=modules) as places,
        browser(client, places[0].url) as ada,
        PythonVisitor(places[2].url) as guest,
    ):
        watching = await at(places[2], guest)
        await ada.sign_up("ada")
        id = await user_id(places[0], ada)
        first, second = await at(places[0], ada), await at(places[1], ada)
        third = await at(places[1], ada)
        assert await watching.event("joined") == id
        for site in places:
            assert await site.services.presence.users("/lobby") == {id}

        async def sockets() -> int:
            rows = await places[2].services.presence.of(id)
            assert [row.namespace for row in rows] == ["/lobby"]
            return int(rows[0].sockets)

        async def has(count: int) -> bool:
            return await sockets() == count

        await until(lambda: has(3))
        await first.close()
        await third.close()
        await until(lambda: has(1))
        await until(lambda: not len(places[0].services.presence.here))
        assert told() == ["join"]
        await second.close()
        await until(lambda: told() == ["join", "leave"])
        assert await places[2].services.presence.users("/lobby") == set()
        assert await places[2].services.presence.of(id) == []


@pytest.mark.limit(60)
async def test_the_users_of_a_killed_process_leave(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When its time is up, a process that survives tells it once. A user who moved on stays."""
    modules = fork(monkeypatch, namespaces=[("/", Lobby)])[1:]
    url = empty_redis()
    flags = (f"--store={url}", f"--secret-keys={KEYS[0]}", "--process-number=7")
    async with (
        serve(tmp_path / "0", store=url, secret_keys=KEYS, modules=modules) as site,
        process(tmp_path / "0", *flags) as killed,
        PythonVisitor(killed.url) as ada,
        PythonVisitor(killed.url) as eve,
    ):
        await ada.sign_up("ada")
        await eve.sign_up("eve")
        await ada.socket("websocket")
        await eve.socket("websocket")
        ids = {await user_id(site, ada), await user_id(site, eve)}

        async def both() -> bool:
            users: set[str] = await site.services.presence.users("/")
            return users == ids

        await until(both)
        eve.url = site.url
        await eve.socket("websocket")
        await until(lambda: site.services.presence._written)
        await killed.stop(signal.SIGKILL)
        users = site.services.presence._site
        times = await users._client.execute("HGETALL", "latchkey:present")
        (dead,) = {name.decode() for name in times} - {users._process}
        assert float(times[dead.encode()]) > 0
        await users._client.execute("HSET", "latchkey:present", dead, "1")  # 15 s pass
        await until(lambda: told() == ["leave"])
        assert Lobby.told[0][1] == await user_id(site, ada)
        assert await site.services.presence.users("/") == {await user_id(site, eve)}
        assert await site.services.presence.of(await user_id(site, ada)) == []


async def test_clients_of_a_process_that_stops_move_on_without_a_leave(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Another process tells of those who did not come back."""
    async with sites(tmp_path, 1, modules=modules) as (stays,):
        url = stays.services.settings.store
        async with (
            serve(
                tmp_path / "1", store=url, secret_keys=KEYS, modules=modules, process_number=1
            ) as leaves,
            PythonVisitor(leaves.url) as ada,
            PythonVisitor(leaves.url) as eve,
        ):
            await ada.sign_up("ada")
            await eve.sign_up("eve")
            id = await user_id(leaves, eve)
            await at(leaves, ada)
            await at(leaves, eve)
            await until(lambda: told() == ["join", "join"])
        async with PythonVisitor(stays.url) as back:
            back.jar.update_cookies({cookie.key: cookie.value for cookie in ada.jar})
            await at(stays, back)
            await until(lambda: len(told()) == 3)
            assert Lobby.told[2] == ("leave", id, 0)
            assert len(await stays.services.presence.users("/lobby")) == 1


@pytest.mark.limit(60)
async def test_presence_survives_an_outage_and_the_loss_of_its_keys(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """It is written anew, and nobody joins twice; changes during the outage are told after it."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    try:
        async with (
            sites(tmp_path, 2, url=server.url, modules=modules) as (one, two),
            PythonVisitor(one.url) as ada,
            PythonVisitor(one.url) as eve,
            PythonVisitor(one.url) as bob,
        ):
            visitors = {"ada": ada, "eve": eve, "bob": bob}
            for name, visitor in visitors.items():
                await visitor.sign_up(name)
            ids = {name: await user_id(one, visitor) for name, visitor in visitors.items()}
            stays, goes = await at(one, ada), await at(one, eve)
            await until(lambda: told() == ["join", "join"])

            async def seen(*names: str) -> bool:
                users: set[str] = await two.services.presence.users("/lobby")
                return users == {ids[name] for name in names}

            server.kill()
            assert await one.services.presence.users("/lobby") == {ids["ada"], ids["eve"]}
            await goes.close()
            await until(lambda: len(one.services.presence.here) == 1)
            assert told() == ["join", "join"]
            server.start()
            await until(lambda: told() == ["join", "join", "leave"])
            with server.client() as redis:
                assert redis.delete(*redis.keys("latchkey:present*"))
            # a client that comes before the heartbeat notices it
            await at(two, bob)
            await until(lambda: seen("ada", "bob"))
            await until(lambda: told() == ["join", "join", "leave", "join"])
            await stays.close()
            await until(lambda: seen("bob"))
            await until(lambda: told() == ["join", "join", "leave", "join", "leave"])
    finally:
        server.kill()


async def test_a_process_that_was_taken_for_dead_comes_back(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Its users have left, and join again."""
    async with (
        sites(tmp_path, 2, modules=modules) as (one, two),
        PythonVisitor(two.url) as ada,
    ):
        await ada.sign_up("ada")
        await at(two, ada)
        await until(lambda: told() == ["join"])
        suspended = two.services.presence
        await suspended._background.stop()
        redis, process = suspended._site._client, suspended._site._process
        await redis.execute("HSET", "latchkey:present", process, "1")
        await until(lambda: told() == ["join", "leave"])
        assert await one.services.presence.users("/lobby") == set()
        suspended.start()
        await until(lambda: told() == ["join", "leave", "join"])
        assert len(await one.services.presence.users("/lobby")) == 1


async def test_the_next_change_writes_anew_what_redis_has_lost(
    tmp_path: Path, modules: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for the heartbeat, and tells of nobody twice."""
    monkeypatch.setattr(presence, "_BEAT_INTERVAL", 60.0)
    async with (
        sites(tmp_path, 1, modules=modules) as (site,),
        PythonVisitor(site.url) as ada,
        PythonVisitor(site.url) as eve,
    ):
        await ada.sign_up("ada")
        await eve.sign_up("eve")
        socket = await at(site, ada)
        await until(lambda: told() == ["join"])
        redis = site.services.presence._site._client
        await redis.execute("DEL", *await redis.execute("KEYS", "latchkey:present*"))
        await at(site, eve)
        await until(lambda: told() == ["join", "join"])
        names = await redis.execute("HKEYS", "latchkey:present:in:/lobby")
        assert len(names) == 2
        await socket.close()
        await until(lambda: told() == ["join", "join", "leave"])
