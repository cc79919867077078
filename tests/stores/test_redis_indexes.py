"""The indexes of the Redis store, and what Redis forgets by itself."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import pytest

from app.stores import public_id
from app.stores.redis import store_scripts as redis_scripts
from app.stores.redis.connection import Word
from app.stores.redis.script import Script
from app.stores.redis.store import RedisStore
from tests.support.redis_server import shared_server
from tests.support.sites import processes
from tests.support.stores import record


async def test_a_late_touch_does_not_move_times_back() -> None:
    """Of two processes that saw a client, the later time counts."""
    async with processes() as (one, two):
        await one.save(record())
        await one.touch({"a": (1050.0, 1150.0)})
        await two.touch({"a": (1020.0, 1120.0)})
        assert await two.load("a") == record(seen=1050.0)
        assert await two.purge(1130.0, 10) == []


async def test_records_and_indexes_have_a_time_to_live() -> None:
    """Record and index have a time to live that a touch extends; what never ends has none.

    It is a month longer than the session's: a Redis whose clock is set forward by two days for a
    moment must not remove sessions that processes still serve.
    """
    month = 30 * 86_400_000
    async with processes(1) as (store,):
        with shared_server().client() as redis:
            await store.save(record("a", user_id="anna"))
            first = redis.pttl("latchkey:{a}")
            assert month + 90_000 < first <= month + 100_000
            assert redis.pttl("latchkey:user:anna") >= first - 1000
            await store.touch({"a": (2000.0, 12_000.0)})
            assert redis.pttl("latchkey:{a}") > month + 9_000_000
            assert redis.pttl("latchkey:user:anna") > month + 9_000_000
            await store.save(record("b", user_id="anna", expires=float("inf")))
            assert redis.pttl("latchkey:{b}") == redis.pttl("latchkey:user:anna") == -1
            await store.destroy("a")
            await store.destroy("b")
            assert redis.keys("latchkey:*") == []


async def test_an_index_drops_ids_without_a_record() -> None:
    """The sessions of a user, and those to purge, are the ones that have a record."""
    async with processes(1) as (store,):
        with shared_server().client() as redis:
            await store.save(record("a", user_id="anna"))
            await store.save(record("b", user_id="anna"))
            redis.delete("latchkey:{a}")
            assert [found.id for found in await store.of_user("anna")] == ["b"]
            assert redis.zrange("latchkey:user:anna", 0, -1) == [b"b"]
            assert [found.id for found in await store.purge(2000.0, 10)] == ["b"]
            assert redis.zrange("latchkey:expiry", 0, -1) == []


def counted(store: RedisStore) -> Counter[str]:
    """Return the names of the scripts that this store runs from now on, counted."""
    names = {id(script): name for name, script in vars(redis_scripts).items()}
    calls: Counter[str] = Counter()
    run = store._client.run

    async def count(
        script: Script, keys: tuple[Word, ...], *args: Word, change: bool = False
    ) -> Any:
        calls[names[id(script)]] += 1
        return await run(script, keys, *args, change=change)

    store._client.run = count  # type: ignore[method-assign]
    return calls


async def test_sessions_of_an_older_release_are_found_by_public_id() -> None:
    """An older release wrote no index of public ids; the first call makes it, once."""
    async with processes() as (one, _):
        for number in range(7):
            await one.save(record(str(number), seen=1000.0 + number, user_id="anna"))
        with shared_server().client() as client:
            for number in range(5):
                client.hdel(f"latchkey:{{{number}}}", "public")
                client.hdel("latchkey:public:anna", public_id(str(number)))
            client.zadd("latchkey:user:anna", {"gone": 1.0})
        calls = counted(one)
        found = await asyncio.gather(*(one.find("anna", public_id("3")) for _ in range(20)))
        assert found == [record("3", seen=1003.0, user_id="anna")] * 20
        assert calls["UNINDEXED"] == 2
        calls.clear()
        for number in range(7):
            assert await one.find("anna", public_id(str(number))) is not None
        assert await one.find("anna", "unknown") is None
        assert calls == {"FIND": 8}
        assert await one.count("anna") == 7


async def test_an_index_drops_public_ids_without_a_record() -> None:
    """An older release leaves the public id of an ended session in the index."""
    async with processes() as (one, _):
        await one.save(record("a", user_id="anna"))
        with shared_server().client() as client:
            client.delete("latchkey:{a}")
            assert await one.find("anna", public_id("a")) is None
            assert client.hlen("latchkey:public:anna") == 0


async def test_the_index_of_public_ids_lives_as_long_as_the_sessions() -> None:
    """Redis forgets it with the list of the user, also after a touch."""
    async with processes() as (one, _):
        await one.save(record("a", user_id="anna"))
        await one.touch({"a": (2000.0, 12_000.0)})
        with shared_server().client() as client:
            lists = client.pttl("latchkey:user:anna"), client.pttl("latchkey:public:anna")
            assert lists[0] == pytest.approx(lists[1], abs=2000)
        await one.save(record("b", user_id="anna", expires=math.inf))
        with shared_server().client() as client:
            assert client.pttl("latchkey:public:anna") == -1
