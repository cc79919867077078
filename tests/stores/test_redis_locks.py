"""The locks of sessions in Redis: leases, turns, and what a lock reads."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

import pytest

from app.sessions.clock import SteadyClock
from app.sessions.manager import Sessions
from app.stores import LeaseLost, Record, StoreBusy
from app.stores.redis import locks as redis_locks
from app.stores.redis.connection import Connection
from app.stores.redis.store import RedisStore
from tests.support.demo.session import SessionData
from tests.support.redis_server import shared_server
from tests.support.sites import processes, waits_for_lock
from tests.support.stores import record
from tests.support.waiting import until


def is_locked(session_id: str) -> bool:
    with shared_server().client() as redis:
        return bool(redis.exists(f"latchkey:{{{session_id}}}:lock"))


async def increment(store: RedisStore, times: int) -> None:
    for _ in range(times):
        lease = await store.lock("a")
        assert lease.record is not None
        await lease.save(b"%d" % (int(lease.record.data) + 1))


async def test_edits_of_several_processes_are_all_kept() -> None:
    """Four processes with ten editors each raise one number, and none is lost."""
    async with processes(4) as stores:
        await stores[0].save(record(data=b"0"))
        await asyncio.gather(*(increment(store, 5) for store in stores for _ in range(10)))
        loaded = await stores[0].load("a")
        assert loaded is not None
        assert (loaded.data, loaded.version) == (b"200", 201)


async def test_a_busy_process_lets_others_lock() -> None:
    """A process with endless queued edits does not keep another process from its one edit."""
    async with processes() as (busy, other):
        await busy.save(record(data=b"0"))
        rest = [asyncio.ensure_future(increment(busy, 1000)) for _ in range(5)]

        async def begun() -> bool:
            found = await other.load("a")
            return found is not None and found.version > 10

        await until(begun)
        await asyncio.wait_for(increment(other, 20), 5)
        assert not any(editing.done() for editing in rest)
        for editing in rest:
            editing.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


async def test_a_waiting_process_is_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message passes the lock on, before the waiting process asks again."""
    monkeypatch.setattr(redis_locks, "_RETRY_INTERVAL", 1000.0)
    async with processes() as (one, two):
        lease = await one.lock("a")
        waiting = asyncio.ensure_future(two.lock("a"))
        await waits_for_lock(two)
        assert not waiting.done()
        await lease.release()
        await (await asyncio.wait_for(waiting, 5)).release()


async def test_a_lease_that_ran_out_overwrites_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A late save raises LeaseLost, whether the other edit has been saved by then or not."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes() as (one, two):
        await one.save(record())
        late = await one.lock("a")
        lease = await two.lock("a")
        with pytest.raises(LeaseLost):
            await late.save(b"late")
        await lease.save(b"in time")
        late = await one.lock("a")
        lease = await two.lock("a")
        await lease.save(b"again")
        with pytest.raises(LeaseLost):
            await late.save(b"late")
        loaded = await one.load("a")
        assert loaded is not None
        assert (loaded.data, loaded.version) == (b"again", 3)


async def test_a_sign_in_keeps_an_edit_of_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lease runs out during a sign-in, the other process's edit moves to the new id."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes() as (one, two):
        slow, other = (
            Sessions(store, SessionData, idle_timeout=100, max_age=1000, clock=SteadyClock())
            for store in (one, two)
        )
        session = await slow.create(remote_address="", user_agent="")
        replace, lost = redis_locks.RedisLease.replace, False

        async def edit() -> None:
            async with await other.session_for(session.id) as data:
                data.count += 1

        async def stalled(lease: Any, record: Record, note: bytes = b"") -> None:
            nonlocal lost
            if not lost:
                lost = True
                await until(lambda: not is_locked(session.id))
                # as another process, which knows of no block around this
                await asyncio.create_task(edit(), context=Context())
            await replace(lease, record, note)

        monkeypatch.setattr(redis_locks.RedisLease, "replace", stalled)
        signed_in = await slow.sign_in(session, "ann", remote_address="", user_agent="")
        assert (await other.session_for(signed_in.id)).data.count == 1
        assert await other.load(session.id) is None


async def test_a_slow_edit_without_competition_is_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ran out while no other edit wanted the lock is no reason to refuse."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 50)
    async with processes(1) as (store,):
        await store.save(record())
        lease = await store.lock("a")
        await until(lambda: not is_locked("a"))
        assert (await lease.save(b"slow")).data == b"slow"


async def test_waiting_for_a_lock_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """StoreBusy is raised at the timeout, and no turn stays reserved."""
    monkeypatch.setattr(redis_locks, "_LOCK_TIMEOUT", 0.2)
    async with processes() as (one, two):
        lease = await one.lock("a")
        with pytest.raises(StoreBusy, match="another process"):
            await two.lock("a")
        await lease.release()
        await (await asyncio.wait_for(one.lock("a"), 2)).release()


async def test_the_lock_of_a_dead_process_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease ends, and the next lock reads what was stored before."""
    monkeypatch.setattr(redis_locks, "_LEASE_TIMEOUT", 300)
    async with processes() as (dead, other):
        await dead.save(record())
        await dead.lock("a")
        lease = await other.lock("a")
        assert lease.record == record()
        await lease.release()


async def test_a_lock_reads_changes_of_other_processes() -> None:
    """It brings the times and the data that another process wrote to a cached record."""
    async with processes() as (one, two):
        await one.save(record())
        await two.touch({"a": (1050.0, 1150.0)})
        lease = await one.lock("a")
        assert lease.record == record(seen=1050.0)
        await lease.release()
        await (await two.lock("a")).save(b"new")
        lease = await one.lock("a")
        assert lease.record == record(data=b"new", seen=1050.0, version=2)
        await lease.release()


async def test_a_lock_does_not_transfer_cached_data() -> None:
    """The data of a large session is read once, not for each edit."""
    async with processes() as (one, two):
        await one.save(record(data=bytes(100_000)))
        await (await two.lock("a")).release()
        with shared_server().client() as redis:
            before = redis.info("stats")["total_net_output_bytes"]
            for _ in range(10):
                lease = await two.lock("a")
                assert lease.record == record(data=bytes(100_000))
                await lease.release()
            assert redis.info("stats")["total_net_output_bytes"] - before < 100_000


async def test_a_lock_of_a_cached_record_is_answered_by_one_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Times are compared in the form in which Redis has them, whatever their digits."""
    read: list[bytes] = []
    data_received = Connection.data_received

    def noting(connection: Connection, data: bytes) -> None:
        read.append(data)
        data_received(connection, data)

    monkeypatch.setattr(Connection, "data_received", noting)
    async with processes(1) as (store,):
        await (await store.lock("z")).release()  # Redis knows the script from now on
        for id, seen in (("a", 1000.0), ("b", 1763999999.1234567), ("c", 0.1 + 0.2)):
            await store.save(record(id, seen=seen))
            read.clear()
            lease = await store.lock(id)
            assert read == [b"$7\r\ncurrent\r\n"]
            assert lease.record == record(id, seen=seen)
            await lease.save(b"new")


async def test_a_cancelled_call_does_not_disturb_others() -> None:
    """Its reply is dropped, and the connection goes on."""
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        tired = asyncio.ensure_future(store.load("a"))
        loads = [asyncio.ensure_future(store.load(id)) for id in ("a", "b", "a")]
        await asyncio.sleep(0)
        tired.cancel()
        assert await asyncio.gather(*loads) == [record(), None, record()]
        assert tired.cancelled()
        assert store._client._connection is wire
