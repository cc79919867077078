"""Locks of busy sessions, which a process keeps until another one wants them."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from app.stores import LeaseLost, RecordGone
from app.stores.protocol import Lease
from app.stores.redis import kept_leases as redis_kept
from app.stores.redis import locks as redis_locks
from app.stores.redis.kept_leases import BusySessions
from app.stores.redis.store import RedisStore
from tests.support.redis_server import shared_server
from tests.support.sites import processes, waits_for_lock
from tests.support.stores import record
from tests.support.waiting import until

LOCK = "latchkey:{a}:lock"


async def taken(store: RedisStore) -> Lease:
    """Lock as an edit does."""
    lease = store.try_lock("a")
    if lease is not None:
        return lease
    return await asyncio.wait_for(store.lock("a"), 2)


async def edit(store: RedisStore, times: int = 1) -> None:
    """Raise the number in the session, again and again."""
    for _ in range(times):
        lease = await taken(store)
        assert lease.record is not None
        await lease.save(b"%d" % (int(lease.record.data) + 1))


async def number(store: RedisStore) -> int:
    loaded = await store.load("a")
    assert loaded is not None
    return int(loaded.data)


def is_locked() -> bool:
    with shared_server().client() as redis:
        return bool(redis.exists(LOCK))


def scripts_run() -> int:
    """How often a script was called in this Redis so far."""
    with shared_server().client() as redis:
        return int(redis.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


@pytest.fixture
def slow_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be given back because time passed, nor be asked for twice."""
    monkeypatch.setattr(redis_kept, "_BUSY_INTERVAL", 1000.0)
    monkeypatch.setattr(redis_locks, "_RETRY_INTERVAL", 1000.0)


@pytest.fixture
def fast_ticks(monkeypatch: pytest.MonkeyPatch) -> float:
    """Return seconds after which what was kept has been given back."""
    monkeypatch.setattr(redis_kept, "_BUSY_INTERVAL", 0.02)
    return 0.1


async def test_an_edit_of_a_busy_session_is_one_round_trip() -> None:
    """From the third edit in a row on: the second finds out that the session is busy."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        before = scripts_run()
        await edit(store, 2)
        assert scripts_run() - before == 4
        await edit(store, 10)
        assert scripts_run() - before == 14
        assert is_locked()
        assert await number(store) == 12


async def test_an_edit_of_a_quiet_session_is_two_round_trips(fast_ticks: float) -> None:
    """Its lock is not kept, since it is unlikely to be of use."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        before = scripts_run()
        for _ in range(4):
            await edit(store)
            assert not is_locked()
            await asyncio.sleep(fast_ticks)
        assert scripts_run() - before == 8


async def test_an_unused_lock_is_released(fast_ticks: float) -> None:
    """Soon, and then the timer stops."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await edit(store, 5)
        assert is_locked()
        await until(lambda: not is_locked())
        await asyncio.sleep(fast_ticks)
        kept = store._locks
        assert not kept.kept
        assert not kept.busy.current
        assert not kept.busy._last
        assert kept.busy._timer is None
        await edit(store, 5)
        assert is_locked()
        assert await number(store) == 10


@pytest.mark.usefixtures("slow_ticks")
async def test_another_process_gets_a_kept_lock_at_once() -> None:
    """The holder is notified; the lock passes to and fro without waiting."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        for _ in range(3):
            for store in (one, two):
                await edit(store, 4)
                assert is_locked()
        assert await number(one) == 24


@pytest.mark.usefixtures("slow_ticks")
async def test_another_process_gets_the_lock_after_the_edit() -> None:
    """A kept lock in use is waited for, and not kept again."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        lease = one.try_lock("a")
        assert lease is not None
        waiting = asyncio.ensure_future(two.lock("a"))
        await waits_for_lock(two)
        assert not waiting.done()
        await lease.save(b"5")
        other = await asyncio.wait_for(waiting, 2)
        assert other.record == record(data=b"5", version=6)
        await other.save(b"6")
        assert not is_locked()


async def test_a_save_releases_the_lock_for_a_waiting_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis knows which process waits, also if its message was lost."""
    monkeypatch.setattr(redis_kept, "_BUSY_INTERVAL", 1000.0)
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        lease = one.try_lock("a")
        assert lease is not None
        handlers = one._client._subscriptions._handlers
        for channel in handlers:
            if channel.startswith(b"latchkey:wanted:"):
                handlers[channel] = lambda message: None
        waiting = asyncio.ensure_future(two.lock("a"))
        await waits_for_lock(two)
        await lease.save(b"5")
        other = await asyncio.wait_for(waiting, 2)
        assert one.try_lock("a") is None
        await other.save(b"6")
        await edit(one)
        assert not is_locked()
        assert await number(one) == 7


async def test_busy_processes_share_a_session() -> None:
    """Each keeps the lock until another process wants it; none starves, no edit is lost."""
    async with processes(4) as stores:
        await stores[0].save(record(data=b"0"))
        await asyncio.wait_for(asyncio.gather(*(edit(store, 50) for store in stores)), 30)
        assert await number(stores[0]) == 200


async def test_edits_of_one_process_pass_the_lock_on() -> None:
    """Of ten edits at once, all but the first few are one round trip."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        before = scripts_run()
        await asyncio.gather(*(edit(store) for _ in range(10)))
        assert scripts_run() - before == 12
        assert await number(store) == 10


async def test_a_suspended_process_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kept lock may have run out like any other, and is then not used."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    monkeypatch.setattr(redis_kept, "_BUSY_INTERVAL", 1000.0)
    monkeypatch.setattr(redis_kept, "_MAX_KEPT", 0.05)
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        await until(lambda: not is_locked())
        await edit(two)
        assert one.try_lock("a") is None
        await edit(one)
        assert await number(one) == 6


async def test_a_lock_is_not_kept_for_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that releases its own lock does not wait for it."""
    monkeypatch.setattr(redis_kept, "_MAX_KEPT", -1.0)
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await asyncio.wait_for(edit(store, 10), 2)
        assert await number(store) == 10


async def test_each_save_renews_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """It begins anew with each save."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 60_000)
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await edit(store, 4)
        with shared_server().client() as redis:
            redis.pexpire(LOCK, 50)
            await edit(store)
            assert redis.pttl(LOCK) > 50_000


async def test_a_kept_lease_that_ran_out_overwrites_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late save raises LeaseLost, as with any lock."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        lease = one.try_lock("a")
        assert lease is not None
        await until(lambda: not is_locked())
        await edit(two)
        with pytest.raises(LeaseLost):
            await lease.save(b"late")
        assert await number(one) == 5


@pytest.mark.usefixtures("slow_ticks")
async def test_a_session_that_ended_elsewhere_cannot_be_saved() -> None:
    """Whether this process was told before, or finds out when it saves."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        lease = one.try_lock("a")
        assert lease is not None
        await two.destroy("a")
        with pytest.raises(RecordGone):
            await lease.save(b"late")
        await one.save(record(data=b"0"))
        await edit(one, 4)
        await two.destroy("a")
        await until(lambda: one.cached("a") is None)
        assert one.try_lock("a") is None
        other = await taken(one)
        assert other.record is None
        await other.release()
        await asyncio.wait_for(two.lock("a"), 2)


async def test_a_record_is_not_cached_after_an_invalidation() -> None:
    """Another session ended while the reply was on its way, so the record is read again."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await edit(store, 4)
        editing = asyncio.ensure_future(edit(store))
        await asyncio.sleep(0)
        store._cache._on_gone(b"b")
        await editing
        known = store.cached("a")
        assert known is not None
        assert known.data == b"4"
        await edit(store)
        assert await number(store) == 6


@pytest.mark.usefixtures("slow_ticks")
async def test_kept_locks_of_a_lost_connection_are_released() -> None:
    """On the next connection; until then they are not used."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        wire = one._client._connection
        assert wire is not None
        wire.abort()
        await until(lambda: wire is not one._client._connection and one._client.connected)
        await one.load("a")
        assert one.try_lock("a") is None
        await until(lambda: not is_locked())
        await edit(two)
        await edit(one)
        assert await number(one) == 6


@pytest.mark.usefixtures("slow_ticks")
async def test_close_releases_kept_locks() -> None:
    """A process that stops keeps no other process waiting."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        await edit(one, 4)
        assert is_locked()
        await one.close()
        assert not is_locked()
        await edit(two)


@pytest.mark.usefixtures("slow_ticks")
async def test_a_cancelled_edit_releases_a_kept_lock() -> None:
    """At whichever turn of the loop; a save that was sent may still take effect."""
    async with processes() as (one, two):
        await one.save(record(data=b"0"))
        done, turns = False, 0
        while not done and turns < 30:
            await edit(one, 4)
            editing = asyncio.ensure_future(edit(one))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = editing.done()
            editing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await editing
            before = await number(two)
            await edit(two)
            assert await number(one) == before + 1
            turns += 1
        assert turns > 1


async def test_an_edit_without_change_releases_a_kept_lock() -> None:
    """Locks are kept after saves only."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await edit(store, 4)
        lease = store.try_lock("a")
        assert lease is not None
        await lease.release()
        await store.ping()
        assert not is_locked()


async def test_a_slow_reply_does_not_keep_a_lock_for_ever(fast_ticks: float) -> None:
    """Also if the session is quiet by the time of the reply."""
    async with processes(1) as (store,):
        await store.save(record(data=b"0"))
        await edit(store, 4)
        with shared_server().client() as redis:
            redis.client_pause(300)
        await edit(store)
        await until(lambda: not is_locked(), 2)


@pytest.mark.usefixtures("slow_ticks")
async def test_a_session_is_busy_for_two_intervals() -> None:
    """The one in which it was saved and the next; then its lock is given back."""
    intervals: list[bool] = []
    busy = BusySessions(lambda: intervals.append("a" in busy))
    assert not busy.add("a")
    busy.next_interval()
    assert busy.add("a")
    busy.next_interval()
    assert busy.add("a")
    busy.next_interval()
    busy.next_interval()
    assert intervals == [True, True, True, False]
    assert not busy.add("a")
    assert busy.add("a")
    busy.discard("a")
    assert not busy.add("a")
    busy.close()


@pytest.mark.usefixtures("slow_ticks")
async def test_a_lock_is_given_back_once() -> None:
    """Whether it is wanted, idle, or the connection is lost; and it is not used after that."""
    async with processes(1) as (store,):
        locks = store._locks
        for id in ("a", "b", "c"):
            await store.save(record(id, data=b"0"))
            for _ in range(3):
                lease = store.try_lock(id) or await store.lock(id)
                await lease.save(b"1")
        assert set(locks.kept) == {"a", "b", "c"}
        before = scripts_run()
        locks.wanted("a")
        locks.wanted("a")
        locks.busy.discard("b")
        locks.busy.next_interval()
        locks.release_all()
        locks.release_all()
        await store.ping()
        assert scripts_run() - before == 3
        assert [store.try_lock(id) for id in ("a", "b", "c")] == [None] * 3


async def test_locks_work_without_kept_leases() -> None:
    """`RedisLocks` alone lose no edit, and each edit is two round trips."""
    async with processes() as stores:
        await stores[0].save(record(data=b"0"))
        for store in stores:
            store._locks = store._locks._locks  # type: ignore[assignment]
            store.try_lock = store._locks.try_lock
        before = scripts_run()
        await edit(stores[0], 5)
        assert scripts_run() - before == 10
        assert not is_locked()
        await asyncio.gather(*(edit(store, 20) for store in stores for _ in range(2)))
        assert await number(stores[1]) == 85
