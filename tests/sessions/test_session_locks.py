"""The lock of a session is released, however and whenever an edit fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from app.sessions.edit import _innermost
from app.sessions.manager import Sessions
from app.sessions.session import Session, SessionEnded
from app.stores import SessionStore, StoreBusy, StoreUnavailable
from app.stores.locks import Locks
from app.stores.memory import MemoryStore
from tests.support.clock import Clock
from tests.support.counting_store import CountingStore
from tests.support.sessions import Data, made, sessions_over, stored
from tests.support.stores import every_store, opened
from tests.support.suspending_store import SuspendingStore


async def free(store: SessionStore, session_id: str) -> None:
    """Fail unless the lock of this session is free."""
    lease = await asyncio.wait_for(store.lock(session_id), 2)
    await lease.release()


async def cancelled_after(turns: int, work: Awaitable[object]) -> bool:
    """Cancel this work after so many iterations of the loop; return whether it was done before."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return done


async def edit(sessions: Sessions[Data], session: Session[Data]) -> None:
    """Add one, with a pause in the block."""
    async with sessions.session_for(session.id) as data:
        await asyncio.sleep(0)
        data.count += 1


async def sign_in(sessions: Sessions[Data], session: Session[Data]) -> None:
    """Give the session a new id."""
    await sessions.sign_in(session, "anna", remote_address="", user_agent="")


async def look(sessions: Sessions[Data], session: Session[Data]) -> None:
    """Edit without changing anything."""
    async with session:
        await asyncio.sleep(0)


@every_store
@pytest.mark.parametrize("work", [edit, look, sign_in])
async def test_a_cancelled_edit_releases_its_lock(
    kind: str,
    tmp_path: Path,
    work: Callable[[Sessions[Data], Session[Data]], Awaitable[None]],
) -> None:
    """It may be cancelled at any iteration of the loop."""
    async with opened(kind, tmp_path) as store:
        sessions = sessions_over(store)
        done, turns = False, 0
        while not done and turns < 30:
            session = await sessions.create(remote_address="", user_agent="")
            done = await cancelled_after(turns, work(sessions, session))
            await free(store, session.id)
            turns += 1
        assert turns > 1


@every_store
@pytest.mark.parametrize("visitor", [True, False])
async def test_a_cancelled_sign_in_leaves_no_session_behind(
    kind: str, tmp_path: Path, visitor: bool
) -> None:
    """It may be cancelled at any iteration of the loop; no browser would ever have the cookie."""
    async with opened(kind, tmp_path) as store:
        sessions = sessions_over(store)
        done, turns = False, 0
        while not done and turns < 30:
            user = f"anna {turns}"
            session: Session[Data] = Session(sessions.records, None)
            if visitor:
                session = await sessions.create(remote_address="", user_agent="")
            done = await cancelled_after(
                turns, sessions.sign_in(session, user, remote_address="", user_agent="")
            )
            assert bool(await store.of_user(user)) is done
            turns += 1
        assert turns > 1


@every_store
async def test_an_edit_that_is_cancelled_while_it_waits_leaves_the_queue(
    kind: str, tmp_path: Path
) -> None:
    """The edits behind it get the lock, also if it is cancelled just as it gets the lock."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)
        for turns in range(10):
            holding = asyncio.ensure_future(edit(sessions, session))
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(edit(sessions, session))
            behind = asyncio.ensure_future(edit(sessions, session))
            for _ in range(turns):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait_for(asyncio.gather(holding, behind), 5)
            await asyncio.gather(waiting, return_exceptions=True)
            await free(store, session.id)


async def test_a_cancelled_waiter_knows_that_it_was_cancelled() -> None:
    """It does so also if it gets the lock in the same iteration, and then passes the lock on."""
    locks = Locks()
    await locks.acquire("a")
    waiting = asyncio.ensure_future(locks.acquire("a"))
    await asyncio.sleep(0)
    locks.release("a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(locks.acquire("a"), 1)


async def test_a_waiter_that_times_out_leaves_the_queue() -> None:
    """It raises StoreBusy after the timeout, and the lock is not given to it later."""
    locks = Locks(timeout=0.02)
    await locks.acquire("a")
    with pytest.raises(StoreBusy, match=r"longer than 0\.02 s"):
        await locks.acquire("a")
    locks.release("a")
    await asyncio.wait_for(locks.acquire("a"), 1)


async def test_a_waiter_that_timed_out_and_is_cancelled_does_not_free_the_lock() -> None:
    """If the timeout and a cancellation come in one iteration, the lock stays with its holder."""
    locks = Locks(timeout=60)
    await locks.acquire("a")
    waiting = asyncio.ensure_future(locks.acquire("a"))
    await asyncio.sleep(0)
    queue: Any = locks._queues["a"]
    locks._expire(queue[0])
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    other = asyncio.ensure_future(locks.acquire("a"))
    await asyncio.sleep(0)
    assert not other.done()
    locks.release("a")
    await asyncio.wait_for(other, 1)


async def test_an_unused_lock_takes_no_memory() -> None:
    """No entry is kept for an id that is not locked."""
    locks = Locks()
    for number in range(100):
        await locks.acquire(str(number))
        locks.release(str(number))
    assert locks._queues == {}


class Failing(CountingStore):
    """A store that fails at one of its calls."""

    def __init__(self, inner: SessionStore) -> None:
        super().__init__(inner)
        self.fails_at = ""

    async def before(self, call: str) -> None:
        if call == self.fails_at:
            raise StoreUnavailable(f"{call} failed")


@pytest.mark.express("N10")
@pytest.mark.parametrize("call", ["lock", "lease.save", "save", "destroy"])
@pytest.mark.parametrize("work", [edit, sign_in])
async def test_a_store_that_fails_at_a_call_does_not_keep_the_lock(
    call: str, work: Callable[[Sessions[Data], Session[Data]], Awaitable[None]]
) -> None:
    """The caller gets the error, and the old session lives."""
    store = Failing(MemoryStore())
    sessions, session = await made(store)
    store.calls.clear()
    store.fails_at = call
    failed = (await asyncio.gather(work(sessions, session), return_exceptions=True))[0]
    assert isinstance(failed, StoreUnavailable) == (call in store.calls)
    store.fails_at = ""
    await free(store, session.id)
    if failed is not None:
        assert await stored(sessions, session.id) == Data()


@pytest.mark.express("L5")
async def test_an_end_that_fails_ends_nothing() -> None:
    """The session lives, no listener is called, and the next attempt ends it."""
    store = Failing(MemoryStore())
    sessions, session = await made(store)
    told: list[str] = []

    async def listener(session_id: str, *_: object) -> None:
        told.append(session_id)

    sessions.on_end.append(listener)
    store.fails_at = "destroy"
    with pytest.raises(StoreUnavailable):
        await sessions.end(session.id, "logout")
    assert told == []
    store.fails_at = ""
    assert await sessions.end(session.id, "logout")
    assert told == [session.id]


@pytest.mark.express("I6")
async def test_activity_that_could_not_be_written_is_written_later() -> None:
    """A store that fails in the middle of many writes loses no activity."""
    store = Failing(MemoryStore())
    sessions = sessions_over(store, idle_timeout=100)
    assert isinstance(sessions.clock, Clock)
    made = [await sessions.create(remote_address="", user_agent="") for _ in range(1200)]
    sessions.clock.now += 5
    for session in made:
        sessions.touch(session)

    async def second_fails(call: str) -> None:
        if store.calls.count("touch") == 2:
            raise StoreUnavailable("full")

    store.before = second_fails  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await sessions.lifetimes.activity.flush(force=True)
    store.calls.clear()
    store.before = Failing(store).before  # type: ignore[method-assign]
    await sessions.lifetimes.activity.flush(force=True)
    assert store.calls == ["touch"] * 2
    records = await store.load_many([session.id for session in made])
    assert {record.seen for record in records.values()} == {sessions.clock.now}


async def test_a_session_that_ends_while_activity_is_written_is_left_out() -> None:
    """The activity of the other sessions is written all the same."""

    class Ending(CountingStore):
        async def before(self, call: str) -> None:
            if self.calls.count("touch") == 1 and call == "touch":
                await sessions.end(created[-1].id, "logout")

    store = Ending(MemoryStore())
    sessions = sessions_over(store, idle_timeout=100)
    created = [await sessions.create(remote_address="", user_agent="") for _ in range(600)]
    for session in created:
        sessions.touch(session)
    await sessions.lifetimes.activity.flush(force=True)
    assert store.calls.count("touch") == 2


async def test_many_edits_in_one_task_leave_only_the_last_one_in_its_context() -> None:
    """A task that edits for days keeps no list of its edits."""
    sessions, session = await made(SuspendingStore(MemoryStore()))
    for _ in range(50):
        await look(sessions, session)
    last = _innermost.get()
    assert last is not None
    assert last._outer is None


async def test_an_edit_that_did_not_begin_does_not_count_as_open() -> None:
    """After SessionEnded, RuntimeError or a cancelled wait, the next edit works."""
    sessions, session = await made(MemoryStore())
    gone = await sessions.create(remote_address="", user_agent="")
    await sessions.end(gone.id, "logout")
    for _ in range(2):
        with pytest.raises(SessionEnded):
            await edit(sessions, gone)
    async with session:
        with pytest.raises(RuntimeError):
            await edit(sessions, session)
    await edit(sessions, session)
    assert await stored(sessions, session.id) == Data(count=1)
