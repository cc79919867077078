"""The life of sessions: visitors, timeouts, activity, sign-in, ends."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from app.sessions.manager import Sessions
from app.sessions.session import Session, SessionEnded
from app.stores import Record, SessionStore
from app.stores.memory import MemoryStore
from tests.support.clock import Clock
from tests.support.counting_store import CountingStore
from tests.support.sessions import Data, made, sessions_over
from tests.support.stores import every_store, opened

BROWSER: dict[str, Any] = {"remote_address": "192.0.2.1", "user_agent": "test"}


class Life:
    """Sessions with a clock that tests move, and a list of their announced ends."""

    def __init__(self, store: SessionStore | None = None, **limits: Any) -> None:
        self.store = store or MemoryStore()
        self.sessions: Sessions[Data] = sessions_over(self.store, **limits)
        self.ends: list[tuple[str, str]] = []
        self.sessions.on_end.append(self.ended)

    async def ended(self, session_id: str, reason: str, record: Record | None) -> None:
        self.ends.append((session_id, reason))

    async def begin(self) -> Session[Data]:
        return await self.sessions.create(**BROWSER)

    def wait(self, seconds: float) -> None:
        clock = self.sessions.clock
        assert isinstance(clock, Clock)
        clock.now += seconds


@pytest.mark.express("N14")
async def test_a_visitor_is_stored_by_the_first_change_only() -> None:
    """Reading, an unchanged block and a block that raises store nothing."""
    store = CountingStore(MemoryStore())
    session = sessions_over(store).visitor(**BROWSER)
    assert session.data.count == 0
    async with session:
        pass
    with pytest.raises(ZeroDivisionError):
        async with session as data:
            data.count = 1 // 0
    assert not session
    assert store.calls == []
    async with session as data:
        data.count = 1
    assert session
    assert store.calls == ["save"]
    assert (session.remote_address, session.user_agent) == ("192.0.2.1", "test")


async def test_a_visitor_may_be_edited_again() -> None:
    """The second block edits the session that the first one created."""
    life = Life()
    session = life.sessions.visitor(**BROWSER)
    async with session as data:
        data.count = 1
    first = session.id
    async with session as data:
        data.count += 1
    assert session.id == first
    assert (await life.sessions.session_for(first)).data.count == 2


@every_store
async def test_two_blocks_of_a_visitor_at_once_do_not_make_two_sessions(
    kind: str, tmp_path: Path
) -> None:
    """The second block raises, also while the first one's change is stored; no change is lost."""
    async with opened(kind, tmp_path) as store:
        counting = CountingStore(store)
        session = sessions_over(counting).visitor(**BROWSER)

        async def edit(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            async with session as data:
                data.count += 1

        # at once, and right after the first block's end, when it is being stored
        results = await asyncio.gather(edit(0), edit(0), edit(1), return_exceptions=True)
        assert counting.calls.count("save") == 1
        assert results.count(None) == session.data.count


async def test_a_refused_visitor_is_not_stored_and_may_try_again() -> None:
    """`may_create` raising leaves nothing behind."""
    refused = [RuntimeError("too late")]

    async def may_create() -> None:
        if refused:
            raise refused.pop()

    store = CountingStore(MemoryStore())
    session = sessions_over(store).visitor(**BROWSER, may_create=may_create)
    with pytest.raises(RuntimeError, match="too late"):
        async with session:
            raise AssertionError("the block must not begin")
    assert store.calls == []
    async with session as data:
        data.count = 1
    assert session


@pytest.mark.asvs("7.2.2", "7.2.3")
@pytest.mark.express("A15")
async def test_ids_are_long_random_and_new() -> None:
    """256 bits of the system's randomness, never the same twice."""
    life = Life()
    ids = {(await life.begin()).id for _ in range(100)}
    assert len(ids) == 100
    assert {len(id) for id in ids} == {43}


@every_store
async def test_an_idle_session_ends_when_it_is_used(kind: str, tmp_path: Path) -> None:
    """It lives until just before its idle timeout, and has ended at it, for every caller."""
    async with opened(kind, tmp_path) as store:
        life = Life(store, idle_timeout=100)
        session = await life.begin()
        life.wait(99.5)
        assert await life.sessions.load(session.id) is not None
        life.wait(0.5)
        assert await life.sessions.load(session.id) is None
        assert life.ends == [(session.id, "idle")]
        assert await store.load(session.id) is None


@pytest.mark.asvs("7.4.1")
@pytest.mark.express("C4")
@pytest.mark.parametrize("door", ["edit", "get", "event", "sign in"])
async def test_every_call_ends_an_expired_session(door: str) -> None:
    """The first call after the deadline ends it, says so, and leaves the lock free."""
    life = Life(idle_timeout=100)
    session = await life.begin()
    life.wait(100)
    with pytest.raises(SessionEnded) as caught:  # noqa: PT012
        if door == "edit":
            async with session:
                raise AssertionError("the block must not begin")
        elif door == "get":
            await life.sessions.session_for(session.id)
        elif door == "event":
            await life.sessions.mark_active(session.id)
        else:
            await life.sessions.sign_in(session, "anna", **BROWSER)
    assert caught.value.args[0] == session.id
    assert life.ends == [(session.id, "idle")]
    assert await life.store.load(session.id) is None
    await (await asyncio.wait_for(life.store.lock(session.id), 2)).release()


@pytest.mark.express("B5", "N15")
async def test_activity_extends_the_idle_timeout_but_not_the_absolute_one() -> None:
    """A session that is active every minute ends at its maximum age, as expired."""
    life = Life(idle_timeout=100, max_age=1000)
    session = await life.begin()
    for _ in range(16):
        life.wait(60)
        await life.sessions.mark_active(session.id)
    assert session.expires == session.created + 1000
    life.wait(39)
    assert await life.sessions.load(session.id) is not None
    life.wait(1)
    assert await life.sessions.load(session.id) is None
    assert life.ends == [(session.id, "expired")]


async def test_without_limits_a_session_never_ends() -> None:
    """0 means none, for both limits."""
    life = Life(idle_timeout=0, max_age=0)
    session = await life.begin()
    assert session.expires == math.inf
    life.wait(10**9)
    assert await life.sessions.purge(10) == []
    assert await life.sessions.load(session.id) is not None


@pytest.mark.express("I3")
async def test_activity_is_written_at_most_once_per_interval() -> None:
    """A thousand events in one minute cause one write."""
    store = CountingStore(MemoryStore())
    life = Life(store, idle_timeout=6000)
    session = await life.begin()
    await life.sessions.lifetimes.activity.flush()
    for _ in range(1000):
        life.wait(0.1)
        life.sessions.touch(session)
        await life.sessions.lifetimes.activity.flush()
    assert life.sessions.lifetimes.activity.flush_interval == 60
    assert store.calls.count("touch") == 2  # the first one, and one a minute later


async def test_an_event_loads_the_record_only_if_the_cached_one_has_expired() -> None:
    """Another process may have extended a session, so its record is loaded before it ends."""

    class Remembering(CountingStore):
        def cached(self, session_id: str) -> Record | None:
            return old

    store = Remembering(MemoryStore())
    life = Life(store, idle_timeout=100)
    session = await life.begin()
    old = session.record
    life.wait(99)
    await life.sessions.mark_active(session.id)
    assert store.calls == ["save"]
    await life.sessions.lifetimes.activity.flush(force=True)
    life.wait(99)
    await life.sessions.mark_active(session.id)
    life.wait(100)
    with pytest.raises(SessionEnded):
        await life.sessions.mark_active(session.id)
    assert store.calls == ["save", "touch", "load", "load", "destroy"]


@pytest.mark.parametrize("shared", [True, False])
async def test_activity_near_the_deadline_is_written_at_once_to_a_shared_store(
    shared: bool,
) -> None:
    """Otherwise another process, which does not know of the activity, would end the session."""
    store = CountingStore(MemoryStore())
    store.shared = shared
    life = Life(store, idle_timeout=100, max_age=150)
    session = await life.begin()
    life.wait(79)
    await life.sessions.mark_active(session.id)
    await asyncio.sleep(0)
    assert "touch" not in store.calls
    life.wait(2)
    await life.sessions.mark_active(session.id)
    await asyncio.sleep(0)
    assert store.calls.count("touch") == shared
    life.wait(60)
    await life.sessions.mark_active(session.id)
    await asyncio.sleep(0)
    assert store.calls.count("touch") == shared, "no touch moves the age limit"


async def test_unwritten_activity_counts() -> None:
    """Activity that is not yet written to the store keeps a session alive."""
    store = CountingStore(MemoryStore())
    life = Life(store, idle_timeout=100)
    session = await life.begin()
    life.wait(99)
    life.sessions.touch(session)
    life.wait(99)
    assert await life.sessions.load(session.id) is not None
    async with session as data:
        data.count = 1
    assert "touch" not in store.calls


@every_store
async def test_purge_spares_what_was_touched_but_not_written(kind: str, tmp_path: Path) -> None:
    """Activity is written before the store removes expired records."""
    async with opened(kind, tmp_path) as store:
        life = Life(store, idle_timeout=100)
        active, idle = await life.begin(), await life.begin()
        life.wait(99)
        life.sessions.touch(active)
        life.wait(2)
        assert [record.id for record in await life.sessions.purge(10)] == [idle.id]
        assert await life.sessions.load(active.id) is not None
        assert life.ends == [(idle.id, "idle")]


async def test_purge_spares_what_is_touched_while_touches_are_written() -> None:
    """A client that is active during the write, a moment before its deadline, stays."""

    class Slow(CountingStore):
        async def before(self, call: str) -> None:
            if call == "touch":
                life.sessions.touch(late)
                life.wait(2)

    life = Life(Slow(MemoryStore()), idle_timeout=100)
    late, other = await life.begin(), await life.begin()
    life.wait(99)
    life.sessions.touch(other)
    assert await life.sessions.purge(10) == []
    assert await life.sessions.load(late.id) is not None


async def test_activity_during_a_write_is_kept_for_the_next_one() -> None:
    """The write under way does not drop what was noted after it began."""

    class Slow(CountingStore):
        async def before(self, call: str) -> None:
            if self.calls == ["touch"]:
                life.wait(2)
                life.sessions.touch(session)

    store = Slow(MemoryStore())
    life = Life(store, idle_timeout=100)
    session = await life.begin()
    life.sessions.touch(session)
    store.calls.clear()
    await life.sessions.lifetimes.activity.flush(force=True)
    await life.sessions.lifetimes.activity.flush(force=True)
    assert store.calls == ["touch", "touch"]
    record = await store.inner.load(session.id)
    assert record is not None
    assert record.seen == life.sessions.clock()


async def test_purge_announces_the_reason_of_each() -> None:
    """The reason is idle, or expired if the maximum age was reached."""
    life = Life(idle_timeout=100, max_age=150)
    old = await life.begin()
    life.wait(99)
    life.sessions.touch(old)
    young = await life.begin()
    life.wait(101)
    await life.sessions.purge(10)
    assert dict(life.ends) == {old.id: "expired", young.id: "idle"}


@every_store
async def test_signing_in_gives_a_new_id_and_keeps_the_data(kind: str, tmp_path: Path) -> None:
    """The old id is dead; the new one has the data, the user and a new creation time."""
    async with opened(kind, tmp_path) as store:
        life = Life(store, max_age=1000)
        old = await life.begin()
        async with old as data:
            data.count = 7
        life.wait(10)
        new = await life.sessions.sign_in(old, "anna", remote_address="::1", user_agent="x" * 9999)
        assert new.id != old.id
        assert (new.user, new.data.count, new.created) == ("anna", 7, old.created + 10)
        assert (new.remote_address, new.user_agent) == ("::1", "x" * 512)
        assert await life.sessions.load(old.id) is None
        with pytest.raises(SessionEnded):
            async with old:
                raise AssertionError("the block must not begin")
        assert [record.id for record in await store.of_user("anna")] == [new.id]


@every_store
async def test_of_two_concurrent_sign_ins_one_fails(kind: str, tmp_path: Path) -> None:
    """The second finds the old session ended; there is one new session, not two."""
    async with opened(kind, tmp_path) as store:
        life = Life(store)
        old = await life.begin()
        both = await asyncio.gather(
            life.sessions.sign_in(old, "anna", **BROWSER),
            life.sessions.sign_in(old, "bert", **BROWSER),
            return_exceptions=True,
        )
        assert [type(one) for one in both].count(SessionEnded) == 1
        assert len([*await store.of_user("anna"), *await store.of_user("bert")]) == 1


@every_store
async def test_signing_in_waits_for_a_block_and_takes_its_change(kind: str, tmp_path: Path) -> None:
    """A change that a block stores during the sign-in is in the new session."""
    async with opened(kind, tmp_path) as store:
        life = Life(store)
        old = await life.begin()
        inside = asyncio.Event()

        async def edit() -> None:
            async with life.sessions.session_for(old.id) as data:
                inside.set()
                await asyncio.sleep(0.01)
                data.count = 5

        async def sign_in() -> Session[Data]:
            await inside.wait()
            return await life.sessions.sign_in(old, "anna", **BROWSER)

        new = (await asyncio.gather(sign_in(), edit()))[0]
        assert new.data.count == 5


async def test_signing_in_inside_of_a_block_raises() -> None:
    """It would wait for the block around it, forever."""
    life = Life()
    session = await life.begin()
    async with session:
        with pytest.raises(RuntimeError, match="already open in the block"):
            await asyncio.wait_for(life.sessions.sign_in(session, "anna", **BROWSER), 2)


async def test_an_end_reaches_every_listener() -> None:
    """A listener that raises is logged, and the others are called."""
    life = Life()

    async def broken(session_id: str, reason: str, record: Record | None) -> None:
        raise ZeroDivisionError

    life.sessions.on_end.insert(0, broken)
    session = await life.begin()
    assert await life.sessions.end(session.id, "logout")
    assert not await life.sessions.end(session.id, "logout")
    assert life.ends == [(session.id, "logout")] * 2


async def test_an_end_in_one_session_leaves_the_others() -> None:
    """Only the session with that id ends."""
    sessions, session = await made(MemoryStore())
    other = await sessions.create(**BROWSER)
    await sessions.end(session.id, "logout")
    assert await sessions.load(other.id) is not None
