"""What only the Redis store promises: its cache, its commands, invalid records."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from app.stores import StoreUnavailable
from app.stores.redis import locks as redis_locks
from app.stores.redis.store import RedisStore
from app.transport.tasks import Tasks
from tests.support.redis_server import empty_redis, shared_server
from tests.support.sites import processes
from tests.support.stores import record
from tests.support.waiting import until


async def test_two_processes_purge_each_record_once() -> None:
    """Each record is returned to one of them only."""
    async with processes() as stores:
        for number in range(100):
            await stores[0].save(record(str(number)))
        found = await asyncio.gather(*(store.purge(2000.0, 80) for store in stores))
        ids = [gone.id for portion in found for gone in portion]
        assert len(ids) == len(set(ids)) == 100


async def test_a_record_is_cached_until_it_is_removed() -> None:
    """Records that were read or written here are cached until another process ends the session."""
    async with processes() as (one, two):
        await one.save(record())
        assert one.cached("a") == record()
        assert two.cached("a") is None
        lease = await two.lock("a")
        await lease.save(b"new")
        assert one.cached("a") == record()
        assert await one.load("a") == one.cached("a") == two.cached("a")
        await two.destroy("a")
        await until(lambda: one.cached("a") is None)


async def test_a_lost_connection_clears_the_cache() -> None:
    """Removals cannot be heard without it; afterwards records are read again."""
    async with processes(1) as (store,):
        await store.save(record())
        with shared_server().client() as redis:
            redis.client_kill_filter(_type="pubsub")
        await until(lambda: store.cached("a") is None)
        await until(lambda: store._client.connected)
        assert await store.load("a") == store.cached("a") == record()


async def test_flushed_scripts_are_loaded_again() -> None:
    """SCRIPT FLUSH costs a round trip and nothing else."""
    async with processes(1) as (store,):
        await store.save(record())
        with shared_server().client() as redis:
            redis.script_flush()
        results = await asyncio.gather(store.lock("a"), store.save(record("b")), store.destroy("b"))
        await results[0].save(b"new")
        assert (await store.load_many(["a"]))["a"].data == b"new"


async def test_a_lock_is_released_after_a_script_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next lock need not wait for the end of the lease."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 60_000)
    async with processes() as (one, two):
        await one.save(record())
        lease = await one.lock("a")
        with shared_server().client() as redis:
            redis.script_flush()
        await lease.release()
        await (await asyncio.wait_for(two.lock("a"), 2)).release()


async def test_a_lost_release_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If the connection is lost with the command, the next lock need not wait for the lease."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 60_000)
    async with processes() as (one, two):
        await one.save(record())
        await two.ping()
        lease = await one.lock("a")
        wire = one._client._connection
        assert wire is not None
        await lease.release()
        wire.abort()  # before the loop has written it
        await (await asyncio.wait_for(two.lock("a"), 2)).release()


_B = "'latchkey:{b}'"
SPOILT = {
    "no number": ("HSET", "latchkey:{b}", "version", "x"),
    "no times": ("HDEL", "latchkey:{b}", "seen"),
    "no data": ("HDEL", "latchkey:{b}", "data"),
    "no birth": ("HSET", "latchkey:{b}", "made", b"\xc1"),
    "no text": ("HSET", "latchkey:{b}", "user", b"\xff"),
    "no hash": ("EVAL", f"redis.call('del', {_B}) redis.call('rpush', {_B}, 1)", "0"),
}


@pytest.mark.parametrize("how", SPOILT)
async def test_an_invalid_record_does_not_affect_others(how: str) -> None:
    """It counts as missing, and batches go on with the other records."""
    async with processes() as (one, two):
        for id in "abc":
            await one.save(record(id, user_id="ann"))
        with shared_server().client() as redis:
            redis.execute_command(*SPOILT[how])
        if how != "no hash":
            await (await one.lock("b")).release()  # who knows it as it was
            lease = await two.lock("b")
            assert lease.record is None
            await lease.release()
        assert set(await two.load_many(["a", "b", "c"])) == {"a", "c"}
        assert {found.id for found in await two.of_user("ann")} == {"a", "c"}
        assert {found.id for found in await two.purge(5000.0, 10)} == {"a", "c"}
        with shared_server().client() as redis:
            assert redis.exists("latchkey:{b}") == 0
            assert redis.zcard("latchkey:expiry") == 0


@contextlib.contextmanager
def watched(store: RedisStore) -> Iterator[list[bytes]]:
    """Note what a connected store writes to its socket."""
    wire = store._client._connection
    assert wire is not None
    writes: list[bytes] = []
    transport: Any = wire._transport
    assert transport is not None

    class Watched:
        def write(self, data: bytes) -> None:
            writes.append(data)
            transport.write(data)

        def is_closing(self) -> bool:
            return bool(transport.is_closing())

    wire._transport = Watched()  # type: ignore[assignment]
    try:
        yield writes
    finally:
        wire._transport = transport


async def test_commands_of_one_turn_are_one_write() -> None:
    """A hundred loads at once are one write to the socket."""
    async with processes(1) as (store,):
        await store.ping()
        with watched(store) as writes:
            await asyncio.gather(*(store.load(str(number)) for number in range(100)))
        assert len(writes) == 1


async def test_commands_gather_while_a_batch_is_unanswered() -> None:
    """The commands of many turns are one more write, when the replies arrive."""
    async with processes(1) as (store,):
        await store.ping()
        with watched(store) as writes, shared_server().client() as redis:
            redis.client_pause(500)
            loads = []
            for number in range(5):
                loads.append(asyncio.ensure_future(store.load(str(number))))
                await asyncio.sleep(0.01)
            assert len(writes) == 1
            await asyncio.gather(*loads)
        assert len(writes) == 2


async def test_commands_that_follow_replies_are_one_write() -> None:
    """Twenty edits that lock and save are two writes."""
    async with processes(1) as (store,):
        await store.ping()
        await asyncio.gather(*(store.save(record(str(number))) for number in range(20)))
        await store.save(record("other"))
        lease = await store.lock("other")  # Redis knows the scripts from now on
        await lease.save(b"new")
        tasks, ended = Tasks(), asyncio.Semaphore(0)

        async def edit(id: str) -> None:
            lease = await store.lock(id)
            await lease.save(b"new")

        with watched(store) as writes:
            for number in range(20):
                assert tasks.start(edit(str(number)), lambda _: ended.release())
            for _ in range(20):
                await asyncio.wait_for(ended.acquire(), 2)
        assert len(writes) == 2
        found = await store.load_many([str(number) for number in range(20)])
        assert {record.data for record in found.values()} == {b"new"}


async def test_a_call_after_a_lost_connection_uses_a_new_one() -> None:
    """A caller whose command failed with the connection may call again at once."""
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        assert wire is not None
        tasks, ended = Tasks(), asyncio.Event()
        outcomes: list[Any] = []

        async def edit() -> None:
            with pytest.raises(StoreUnavailable):
                await store.lock("a")
            outcomes.append(store._client.connected)
            outcomes.append(await store.load("a"))

        assert tasks.start(edit(), lambda _: ended.set())
        wire.abort()
        await asyncio.wait_for(ended.wait(), 2)
        assert outcomes == [False, record()]


async def test_another_database_of_the_same_redis_is_another_store() -> None:
    """The number in the URL counts."""
    url = empty_redis()
    async with processes(1, url) as (zero,), processes(1, url[:-1] + "3") as (three,):
        await zero.save(record())
        assert await three.load("a") is None
