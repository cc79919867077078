"""A record that takes the place of a locked one, in every store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.stores import LeaseLost, RecordGone, SessionStore, public_id
from tests.support.sites import processes
from tests.support.stores import every_store, opened, record

OLD, NEW = record("old", user_id="u:1"), record("new", user_id="u:1", data=b"\x81")


async def free(store: SessionStore, session_id: str) -> None:
    """Fail unless the lock of this session is free."""
    lease = await asyncio.wait_for(store.lock(session_id), 2)
    await lease.release()


@every_store
async def test_a_new_record_takes_the_place_of_the_old_one(kind: str, tmp_path: Path) -> None:
    """In the indexes of the user too; a caller that waited for the lock finds no record."""
    async with opened(kind, tmp_path) as store:
        await store.save(OLD)
        lease = await store.lock("old")
        waiting = asyncio.ensure_future(store.lock("old"))
        await asyncio.sleep(0.01)
        await lease.replace(NEW)
        late = await waiting
        assert late.record is None
        await late.release()
        assert await store.load("old") is None
        assert store.cached("old") is None
        assert await store.load("new") == NEW
        assert await store.of_user("u:1") == [NEW]
        assert await store.find("u:1", public_id("old")) is None
        assert await store.find("u:1", public_id("new")) == NEW
        await (await store.lock("new")).save(b"\x82")
        assert await store.replaced_by("old") is None


@every_store
async def test_nothing_is_stored_in_the_place_of_a_record_that_is_gone(
    kind: str, tmp_path: Path
) -> None:
    """Whether it was removed before the lock or after it."""
    async with opened(kind, tmp_path) as store:
        with pytest.raises(RecordGone):
            await (await store.lock("old")).replace(NEW)
        await store.save(OLD)
        lease = await store.lock("old")
        await store.destroy("old")
        with pytest.raises(RecordGone):
            await lease.replace(NEW, b"a note")
        assert await store.load("new") is None
        assert await store.replaced_by("old") is None
        await free(store, "old")


@every_store
async def test_a_record_that_others_have_written_is_not_replaced(kind: str, tmp_path: Path) -> None:
    """The lock had run out; the caller reads again."""
    async with opened(kind, tmp_path) as store:
        await store.save(OLD)
        lease = await store.lock("old")
        await store.destroy("old")
        await store.save(record("old", user_id="u:1", version=9))
        with pytest.raises(LeaseLost):
            await lease.replace(NEW, b"a note")
        assert await store.load("new") is None
        assert await store.load("old") is not None
        assert await store.replaced_by("old") is None
        await free(store, "old")


@every_store
async def test_a_cancelled_replacement_leaves_one_of_the_two(kind: str, tmp_path: Path) -> None:
    """And a free lock."""
    async with opened(kind, tmp_path) as store:
        for turns in range(1, 9):
            await store.save(OLD)
            replacing = asyncio.ensure_future((await store.lock("old")).replace(NEW))
            for _ in range(turns):
                await asyncio.sleep(0)
            replacing.cancel()
            await asyncio.gather(replacing, return_exceptions=True)
            await free(store, "old")
            assert len(await store.load_many(["old", "new"])) == 1
            await store.destroy("old")
            await store.destroy("new")


async def test_other_processes_find_the_note_for_a_minute() -> None:
    """It is there no later than the new record, and is told to all."""
    async with processes(2) as (here, there):
        await here.save(OLD)
        await (await here.lock("old")).replace(NEW, b"a note")
        assert await there.replaced_by("old") == b"a note"
        left = await there._client.execute("PTTL", "latchkey:replaced:old")
        assert 50_000 < left <= 60_000
        assert await there.replaced_by("new") is None
