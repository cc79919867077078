"""Blocks that read and edit one session."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.sessions.session import SessionEnded
from app.stores import StoreUnavailable
from app.stores.memory import MemoryStore
from tests.support.counting_store import CountingStore
from tests.support.sessions import Data, made, stored
from tests.support.stores import every_store, opened


@pytest.mark.express("I4", "N11")
@every_store
async def test_a_block_stores_its_change(kind: str, tmp_path: Path) -> None:
    """After the block the store, the session and its id's next load show the change."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)
        async with session as data:
            data.count += 1
        assert session.data.count == 1
        assert (await sessions.session_for(session.id)).data.count == 1


async def test_a_snapshot_refuses_assignment_and_says_what_to_write() -> None:
    """The message is the remedy, for a page and for a namespace."""
    _, session = await made(MemoryStore())
    with pytest.raises(AttributeError, match=r"async with self\.session as data: data\.count = …"):
        session.data.count = 1
    with pytest.raises(AttributeError, match=r"self\.session_for\(sid\)"):
        del session.data.count
    assert session.data.count == 0


async def test_a_session_has_the_data_that_its_block_stored() -> None:
    """It does so after any number of earlier reads."""
    _, session = await made(MemoryStore())
    for count in (0, 1, 2):
        assert session.data.count == count
        session.check_unchanged()
        async with session as data:
            data.count += 1
    session.check_unchanged()


async def test_a_block_that_raises_changes_nothing() -> None:
    """The store and the snapshot stay as they were, and the lock is free."""
    sessions, session = await made(MemoryStore())
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with session as data:
            data.count = 1
            raise ZeroDivisionError
    assert session.data.count == 0
    assert await stored(sessions, session.id) == Data()
    async with session as data:
        assert data.count == 0


@pytest.mark.express("I3", "N12")
async def test_a_block_that_changes_nothing_writes_nothing() -> None:
    """Reading, and assigning the present value, write nothing."""
    store = CountingStore(MemoryStore())
    _, session = await made(store)
    store.calls.clear()
    async with session as data:
        data.count = data.count + 0
        data.tags.add("x")
        data.tags.discard("x")
    assert store.calls == ["lock", "release"]


async def test_a_block_in_its_own_block_raises() -> None:
    """It would wait for its own lock forever; the outer block goes on."""
    sessions, session = await made(MemoryStore())
    async with session as data:
        data.count = 1
        for door in (
            session,
            sessions.session_for(session.id),
            await sessions.session_for(session.id),
        ):
            with pytest.raises(RuntimeError, match="already open in the block around"):
                async with door:
                    raise AssertionError("the block must not begin")
    assert await stored(sessions, session.id) == Data(count=1)


async def test_a_block_in_its_own_block_raises_through_gather() -> None:
    """Tasks that the block awaits count as inside of it."""
    sessions, session = await made(MemoryStore())

    async def inner() -> None:
        async with sessions.session_for(session.id) as data:
            data.count += 1

    async with session as data:
        failed = await asyncio.gather(inner(), inner(), return_exceptions=True)
        data.count = 1
    assert [type(error) for error in failed] == [RuntimeError, RuntimeError]
    assert await stored(sessions, session.id) == Data(count=1)


async def test_a_task_of_a_block_may_edit_after_the_block_has_ended() -> None:
    """A task that outlives the block in which it was created counts as outside."""
    sessions, session = await made(MemoryStore())
    over_now = asyncio.Event()

    async def later() -> None:
        await over_now.wait()
        async with sessions.session_for(session.id) as data:
            data.count += 1

    async with session as data:
        task = asyncio.ensure_future(later())
        await asyncio.sleep(0)
        data.count = 1
    over_now.set()
    await task
    assert await stored(sessions, session.id) == Data(count=2)


async def test_another_session_may_be_edited_in_a_block() -> None:
    """Only the session of the block is refused."""
    sessions, session = await made(MemoryStore())
    other = await sessions.create(remote_address="", user_agent="")
    async with session as data, other as others:
        data.count, others.count = 1, 2
    assert await stored(sessions, session.id) == Data(count=1)
    assert await stored(sessions, other.id) == Data(count=2)


@every_store
async def test_blocks_of_one_session_object_take_turns(kind: str, tmp_path: Path) -> None:
    """Tasks of one request that edit its session at the same time lose no change."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)

        async def edit() -> None:
            async with session as data:
                count = data.count
                await asyncio.sleep(0)
                data.count = count + 1

        await asyncio.gather(*(edit() for _ in range(10)))
        assert session.data.count == 10
        assert (await stored(sessions, session.id)).count == 10


@pytest.mark.express("N9")
@every_store
async def test_an_edit_of_an_ended_session_raises_and_revives_nothing(
    kind: str, tmp_path: Path
) -> None:
    """SessionEnded carries the id; the store stays empty."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)
        await sessions.end(session.id, "logout")
        for door in (session, sessions.session_for(session.id)):
            with pytest.raises(SessionEnded) as caught:
                async with door:
                    raise AssertionError("the block must not begin")
            assert caught.value.args[0] == session.id
        assert await store.load(session.id) is None


@every_store
@pytest.mark.attack("A4")
async def test_a_session_that_ends_during_a_block_stays_ended(kind: str, tmp_path: Path) -> None:
    """The end does not wait for the block; leaving the block raises SessionEnded."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)
        with pytest.raises(SessionEnded) as caught:  # noqa: PT012
            async with session as data:
                data.count = 1
                assert await sessions.end(session.id, "logout")
        assert caught.value.args[0] == session.id
        assert await store.load(session.id) is None


async def test_a_failing_store_leaves_the_snapshot_unchanged() -> None:
    """The session object does not have a change that was not stored."""

    class Full(CountingStore):
        async def before(self, call: str) -> None:
            if call == "lease.save":
                raise StoreUnavailable("full")

    _, session = await made(Full(MemoryStore()))
    with pytest.raises(StoreUnavailable):
        async with session as data:
            data.count = 1
    assert session.data.count == 0
