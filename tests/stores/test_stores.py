"""The conformance suite of the SessionStore protocol, run against every store."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from app.stores import LeaseLost, Record, RecordGone, SessionStore, public_id
from tests.support.stores import every_store, opened, record

pytestmark = every_store


async def free(store: SessionStore, session_id: str) -> None:
    """Fail unless the lock of this session is free."""
    lease = await asyncio.wait_for(store.lock(session_id), 2)
    await lease.release()


async def test_a_saved_record_is_loaded_as_it_was(kind: str, tmp_path: Path) -> None:
    """Every field is kept, an infinite deadline and bytes of any value too."""
    saved = record(
        "id",
        data=bytes(range(256)),
        expires=math.inf,
        user_id="u:änne\0",
        user_name="änne\0",
        remote_address="2001:db8::1",
        user_agent="Mozilla/5.0 \xff é",
        version=7,
    )
    async with opened(kind, tmp_path) as store:
        await store.save(saved)
        assert await store.load("id") == saved
        assert (await store.load_many(["id"])) == {"id": saved}


@pytest.mark.express("A8")
async def test_an_unknown_id_loads_as_none(kind: str, tmp_path: Path) -> None:
    """An id that was never saved is no error."""
    async with opened(kind, tmp_path) as store:
        assert await store.load("nobody") is None


async def test_a_cached_record_is_the_stored_one(kind: str, tmp_path: Path) -> None:
    """The cache may be empty, but has no old record, whatever this process has done to it."""

    async def known_is_right() -> bool:
        return store.cached("a") in (None, await store.load("a"))

    async with opened(kind, tmp_path) as store:
        assert store.cached("a") is None
        await store.save(record())
        assert await known_is_right()
        await store.touch({"a": (1050.0, 1150.0)})
        assert await known_is_right()
        await (await store.lock("a")).save(b"new")
        assert await known_is_right()
        await store.destroy("a")
        assert store.cached("a") is None


@pytest.mark.parametrize("id", ["", "a\0b", "%_'\"; --", "é" * 10, "x" * 100_000])
async def test_unusual_ids_are_distinguished(kind: str, tmp_path: Path, id: str) -> None:
    """NUL, quotes, wildcards and length do not make one id another's."""
    async with opened(kind, tmp_path) as store:
        await store.save(record(id))
        await store.save(record("a"))
        assert (await store.destroy(id)) == record(id)
        assert await store.load("a") == record("a")
        assert await store.load(id) is None


async def test_load_many_leaves_out_what_does_not_exist(kind: str, tmp_path: Path) -> None:
    """The result has the records that exist, also for more ids than one statement takes."""
    async with opened(kind, tmp_path) as store:
        await store.save(record("a"))
        await store.save(record("b"))
        ids = [str(number) for number in range(2000)]
        assert await store.load_many(["a", *ids, "b"]) == {"a": record("a"), "b": record("b")}
        assert await store.load_many([]) == {}


async def test_destroy_returns_what_it_removed_once(kind: str, tmp_path: Path) -> None:
    """The first caller gets the record, the second None."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        assert await store.destroy("a") == record()
        assert await store.destroy("a") is None
        assert await store.load("a") is None


async def test_one_of_two_concurrent_destroys_gets_the_record(kind: str, tmp_path: Path) -> None:
    """Of two concurrent calls only one is told that it removed the record."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        both = await asyncio.gather(store.destroy("a"), store.destroy("a"))
        assert both.count(None) == 1


async def test_touch_changes_the_times_and_nothing_else(kind: str, tmp_path: Path) -> None:
    """`seen` and `expires` change; data and version stay; an unknown id is ignored."""
    async with opened(kind, tmp_path) as store:
        await store.save(record(user_id="anna"))
        await store.touch({"a": (1050.0, 1150.0), "nobody": (1.0, 2.0)})
        assert await store.load("a") == record(user_id="anna", seen=1050.0)
        assert await store.load("nobody") is None


async def test_a_touch_never_shortens_a_session(kind: str, tmp_path: Path) -> None:
    """A later `expires` that was stored meanwhile stays, and so does a later `seen`."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        await store.touch({"a": (1000.0, 1500.0)})
        await store.touch({"a": (1050.0, 1150.0)})
        assert await store.load("a") == record(seen=1050.0, expires=1500.0)
        await store.touch({"a": (1040.0, 1600.0)})
        assert await store.load("a") == record(seen=1050.0, expires=1500.0)


async def test_touching_does_not_lose_a_lease(kind: str, tmp_path: Path) -> None:
    """A touch and an edit at the same time both take effect."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        lease = await store.lock("a")
        await store.touch({"a": (1050.0, 1150.0)})
        saved = await lease.save(b"new")
        assert saved.data == b"new"
        loaded = await store.load("a")
        assert loaded == record(seen=1050.0, data=b"new", version=2)


async def test_a_lease_has_the_record_at_the_time_of_the_lock(kind: str, tmp_path: Path) -> None:
    """A caller that waited for the lock gets the change of the one before it."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        first = await store.lock("a")
        waiting = asyncio.ensure_future(store.lock("a"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await first.save(b"one")
        second = await waiting
        assert second.record is not None
        assert (second.record.data, second.record.version) == (b"one", 2)
        await second.release()


async def test_a_save_returns_the_record_that_is_stored(kind: str, tmp_path: Path) -> None:
    """Its version has grown by one, and `load` returns the same."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        lease = await store.lock("a")
        saved = await lease.save(b"one")
        assert saved == record(data=b"one", version=2)
        assert await store.load("a") == saved


async def test_release_writes_nothing(kind: str, tmp_path: Path) -> None:
    """The record stays as it was, and the next caller gets the lock."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        await (await store.lock("a")).release()
        assert await store.load("a") == record()
        await free(store, "a")


async def test_an_id_without_record_can_be_locked(kind: str, tmp_path: Path) -> None:
    """The lease of an id without a record has None."""
    async with opened(kind, tmp_path) as store:
        lease = await store.lock("nobody")
        assert lease.record is None
        await lease.release()
        await free(store, "nobody")


async def test_locks_of_two_sessions_do_not_wait_for_each_other(kind: str, tmp_path: Path) -> None:
    """An edit of one session does not delay edits of another."""
    async with opened(kind, tmp_path) as store:
        first = await store.lock("a")
        await free(store, "b")
        await first.release()


async def test_locks_are_acquired_in_order(kind: str, tmp_path: Path) -> None:
    """A later caller does not overtake."""
    order: list[int] = []
    async with opened(kind, tmp_path) as store:

        async def edit(number: int) -> None:
            lease = await store.lock("a")
            order.append(number)
            await asyncio.sleep(0)
            await lease.release()

        await asyncio.gather(*(edit(number) for number in range(20)))
    assert order == list(range(20))


async def test_a_record_that_never_existed_cannot_be_saved(kind: str, tmp_path: Path) -> None:
    """Its lock can be acquired; saving raises RecordGone, creates nothing and releases the lock."""
    async with opened(kind, tmp_path) as store:
        lease = await store.lock("a")
        assert lease.record is None
        with pytest.raises(RecordGone):
            await lease.save(b"new")
        assert await store.load("a") is None
        await (await store.lock("a")).release()


async def test_a_record_removed_under_its_lock_stays_removed(kind: str, tmp_path: Path) -> None:
    """Saving it raises RecordGone, restores nothing and releases the lock."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        lease = await store.lock("a")
        await store.destroy("a")
        with pytest.raises(RecordGone):
            await lease.save(b"late")
        assert await store.load("a") is None
        await free(store, "a")


async def test_a_changed_record_is_not_overwritten(kind: str, tmp_path: Path) -> None:
    """A save over a version that was not read raises LeaseLost and releases the lock."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        lease = await store.lock("a")
        await store.destroy("a")
        await store.save(record(data=b"other", version=5))
        with pytest.raises(LeaseLost):
            await lease.save(b"late")
        assert await store.load("a") == record(data=b"other", version=5)
        await free(store, "a")


async def test_of_user_follows_every_change(kind: str, tmp_path: Path) -> None:
    """The sessions of a user are the records that exist, as they are now."""
    async with opened(kind, tmp_path) as store:
        for id, user in (("a", "anna"), ("b", "anna"), ("c", "bert"), ("d", None)):
            await store.save(record(id, user_id=user))
        await store.touch({"a": (1050.0, 1150.0)})
        await (await store.lock("a")).save(b"one")
        await store.destroy("b")
        assert await store.of_user("anna") == [
            record("a", user_id="anna", seen=1050.0, data=b"one", version=2)
        ]
        assert await store.of_user("bert") == [record("c", user_id="bert")]
        assert await store.of_user("nobody") == []


async def test_of_user_reads_a_page_of_those_seen_last(kind: str, tmp_path: Path) -> None:
    """The latest come first, also after a touch; the others are only counted."""
    async with opened(kind, tmp_path) as store:
        for number in range(7):
            await store.save(record(str(number), seen=1000.0 + number, user_id="anna"))
        await store.touch({"2": (1050.0, 1150.0)})
        assert [found.id for found in await store.of_user("anna", 3)] == ["2", "6", "5"]
        assert await store.count("anna") == 7
        assert await store.count("nobody") == 0


async def test_a_record_is_found_by_its_public_id(kind: str, tmp_path: Path) -> None:
    """Only among the records of its user, as it is now, and until it is removed."""
    async with opened(kind, tmp_path) as store:
        await store.save(record("a", user_id="anna"))
        await store.save(record("b", user_id="bert"))
        await store.save(record("c"))
        await (await store.lock("a")).save(b"one")
        assert await store.find("anna", public_id("a")) == record(
            "a", user_id="anna", data=b"one", version=2
        )
        for user, id in (("anna", "b"), ("bert", "a"), ("anna", "c"), ("nobody", "a")):
            assert await store.find(user, public_id(id)) is None
        for odd in ("", "a", "x" * 100_000, "%", "\0"):
            assert await store.find("anna", odd) is None
        await store.destroy("a")
        assert await store.find("anna", public_id("a")) is None


async def test_trim_removes_the_least_recently_seen(kind: str, tmp_path: Path) -> None:
    """It removes records beyond the number, in portions, except the one to keep."""
    async with opened(kind, tmp_path) as store:
        for number in range(8):
            await store.save(record(str(number), seen=1000.0 + number, user_id="anna"))
        await store.save(record("other", seen=1.0, user_id="bert"))
        assert await store.trim("anna", 8, "0") == []
        first = await store.trim("anna", 3, "0", 3)
        assert [gone.id for gone in first] == ["1", "2", "3"]
        assert first[0] == record("1", seen=1001.0, user_id="anna")
        assert [gone.id for gone in await store.trim("anna", 3, "0", 3)] == ["4", "5"]
        assert await store.trim("anna", 3, "0", 3) == []
        assert {found.id for found in await store.of_user("anna")} == {"0", "6", "7"}
        assert await store.load("1") is None
        assert await store.find("anna", public_id("1")) is None
        assert await store.count("bert") == 1


async def test_concurrent_trims_remove_no_more_than_one(kind: str, tmp_path: Path) -> None:
    """Each record is returned once."""
    async with opened(kind, tmp_path) as store:
        for number in range(20):
            await store.save(record(str(number), seen=1000.0 + number, user_id="anna"))
        removed = await asyncio.gather(*(store.trim("anna", 5, "19") for _ in range(4)))
        ids = [gone.id for some in removed for gone in some]
        assert sorted(ids, key=int) == [str(number) for number in range(15)]


async def test_purge_removes_expired_records_up_to_its_limit(kind: str, tmp_path: Path) -> None:
    """Records that expire at that time or before are removed, in portions; others stay."""
    async with opened(kind, tmp_path) as store:
        for number in range(5):
            await store.save(record(str(number), expires=float(number)))
        await store.save(record("ever", expires=math.inf))
        first = await store.purge(3.0, 3)
        second = await store.purge(3.0, 3)
        assert len(first) == 3
        assert {gone.id for gone in (*first, *second)} == {"0", "1", "2", "3"}
        assert await store.purge(3.0, 3) == []
        assert set(await store.load_many(["3", "4", "ever"])) == {"4", "ever"}


async def test_purge_leaves_extended_records(kind: str, tmp_path: Path) -> None:
    """A session that was extended is not removed at its old deadline."""
    async with opened(kind, tmp_path) as store:
        await store.save(record())
        _, purged = await asyncio.gather(
            store.touch({"a": (1099.0, 1199.0)}), store.purge(1100.0, 10)
        )
        assert purged == []
        assert await store.load("a") == record(seen=1099.0)


async def test_cancelled_waiters_pass_the_lock_on(kind: str, tmp_path: Path) -> None:
    """A waiter may be cancelled before it gets the lock or just then; the next one gets it."""
    async with opened(kind, tmp_path) as store:
        for turns in range(12):
            first = await store.lock("a")
            waiter = asyncio.ensure_future(store.lock("a"))
            await asyncio.sleep(0.001)
            releasing = asyncio.ensure_future(first.release())
            for _ in range(turns):
                await asyncio.sleep(0)
            if not waiter.cancel():
                await (await waiter).release()
            await asyncio.gather(waiter, releasing, return_exceptions=True)
            await free(store, "a")


async def test_a_cancelled_save_releases_the_lock(kind: str, tmp_path: Path) -> None:
    """Whether it wrote or not, the record is complete and the lock is free."""
    async with opened(kind, tmp_path) as store:
        await store.save(record(data=b"0"))
        for turns in range(1, 9):
            lease = await store.lock("a")
            saving = asyncio.ensure_future(lease.save(b"%d" % turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            saving.cancel()
            await asyncio.gather(saving, return_exceptions=True)
            await free(store, "a")
        loaded = await store.load("a")
        assert loaded is not None
        assert loaded.data.isdigit()


async def test_a_store_tells_how_many_records_it_has(kind: str, tmp_path: Path) -> None:
    """Those that were removed do not count."""
    async with opened(kind, tmp_path) as store:
        assert await store.stored() == 0
        for session_id in ("one", "two", "three"):
            await store.save(record(session_id))
        await store.destroy("two")
        assert await store.stored() == 2


async def test_a_store_answers_a_ping(kind: str, tmp_path: Path) -> None:
    """`ping` returns if the store works."""
    async with opened(kind, tmp_path) as store:
        await store.ping()


async def test_simultaneous_pings_do_not_disturb_each_other(kind: str, tmp_path: Path) -> None:
    """None of them reads what another one has written."""
    async with opened(kind, tmp_path) as store:
        await asyncio.gather(*(store.ping() for _ in range(10)))


async def test_closing_twice_is_harmless(kind: str, tmp_path: Path) -> None:
    """The second call does nothing."""
    async with opened(kind, tmp_path) as store:
        await store.close()


async def test_a_scan_finds_every_session(kind: str, tmp_path: Path) -> None:
    """Those of users and visitors, with and without an end, page by page; locks are none."""
    async with opened(kind, tmp_path) as store:
        assert await store.scan("", 10) == ([], "")
        saved = [record(f"id{number}", user_id=f"u:{number % 3}") for number in range(40)]
        saved += [record("visitor"), record("ever", expires=math.inf)]
        for one in saved:
            await store.save(one)
        lease = await store.lock("visitor")
        found: dict[str, Record] = {}
        cursor, complete = "", False
        while not complete:
            page, cursor = await store.scan(cursor, 7)
            found.update((one.id, one) for one in page)
            complete = not cursor
        await lease.release()
        assert found == {one.id: one for one in saved}


async def test_a_session_that_lives_through_a_scan_is_found(kind: str, tmp_path: Path) -> None:
    """Although others come and go between its pages."""
    async with opened(kind, tmp_path) as store:
        lasting = {f"lasting{number}" for number in range(30)}
        for id in lasting:
            await store.save(record(id))
        found: set[str] = set()
        cursor, page_number, complete = "", 0, False
        while not complete:
            await store.save(record(f"new{page_number}"))
            page, cursor = await store.scan(cursor, 4)
            found.update(one.id for one in page)
            for one in page:
                if one.id not in lasting:
                    await store.destroy(one.id)
            page_number, complete = page_number + 1, not cursor
            assert page_number < 1000
        assert lasting <= found
