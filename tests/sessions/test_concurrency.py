"""Pages and events that change one session at the same time lose no change, on any store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.sessions.session import SessionEnded
from app.stores import LeaseLost, Record, SessionStore
from app.stores.memory import MemoryLease, MemoryStore
from tests.support.sessions import made, stored
from tests.support.site import Site, serve
from tests.support.stores import STORES, every_store, opened
from tests.support.suspending_store import SuspendingStore
from tests.support.visitor import Visitor


async def count_to_100(store: SessionStore) -> int:
    """Let 50 pages and 50 events add one each, at the same time; return the stored sum."""
    sessions, session = await made(store)

    async def page() -> None:
        async with await sessions.session_for(session.id) as data:
            count = data.count
            await asyncio.sleep(0)
            data.count = count + 1

    async def event() -> None:
        async with sessions.session_for(session.id) as data:
            count = data.count
            await asyncio.sleep(0)
            data.count = count + 1

    await asyncio.gather(*(work() for _ in range(50) for work in (page, event)))
    return (await stored(sessions, session.id)).count


@pytest.mark.express("P1")
@every_store
async def test_100_edits_at_once_end_at_100(kind: str, tmp_path: Path) -> None:
    """50 edits by pages and 50 by events."""
    async with opened(kind, tmp_path) as store:
        assert await count_to_100(store) == 100


class Unlocked(MemoryStore):
    """A store whose lock excludes nobody; with `checks` it still compares versions."""

    def __init__(self, checks: bool) -> None:
        super().__init__()
        self.checks = checks

    def try_lock(self, session_id: str) -> None:
        return None

    async def lock(self, session_id: str) -> MemoryLease:
        return UnlockedLease(self, session_id, self._records.get(session_id))


class UnlockedLease(MemoryLease):
    """A lease without a lock."""

    async def save(self, data: bytes) -> Record:
        store = self._store
        assert isinstance(store, Unlocked)
        current = store._records[self._id]
        if store.checks and (self.record is None or self.record.version != current.version):
            raise LeaseLost(self._id)
        store._records[self._id] = current.with_data(data)
        return store._records[self._id]

    async def release(self) -> None:
        return


async def test_without_the_lock_edits_are_lost() -> None:
    """Proves that the test above measures the lock: without it most of 100 edits are lost."""
    assert await count_to_100(SuspendingStore(Unlocked(checks=False))) < 50


async def test_without_the_lock_a_version_check_refuses() -> None:
    """If the lock fails, a store that compares versions raises an error and loses no change."""
    with pytest.raises(LeaseLost):
        await count_to_100(SuspendingStore(Unlocked(checks=True)))


@pytest.mark.express("N8")
@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_50_requests_and_50_events_at_once_are_100_more(
    kind: str, transport: str, tmp_path: Path
) -> None:
    """One page and five tabs send them over HTTP; each of the 100 answers is a different number."""
    async with serve(tmp_path, store=STORES[kind](tmp_path)) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        tabs = [await visitor.socket(transport) for _ in range(5)]
        events = [tab.call("incr") for tab in tabs for _ in range(10)]
        counts = await asyncio.gather(*events, *(visitor.incr() for _ in range(50)))
        assert sorted(counts) == list(range(2, 102))
        assert await visitor.incr() == 102
        for tab in tabs:
            await tab.close()


async def count_to_81(site: Site) -> int:
    """Let two sockets and a page add 81 at the same time, 20, 20 and 41; return the sum."""
    async with Visitor(site.url) as visitor:
        await visitor.get("/")
        polling, websocket = [await visitor.socket(way) for way in ("polling", "websocket")]
        await asyncio.gather(
            *(socket.call("incr") for socket in (polling, websocket) for _ in range(20)),
            *(visitor.incr() for _ in range(41)),
        )
        count = int(await websocket.call("count"))
        for socket in (polling, websocket):
            await socket.close()
    return count


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.attack("A7")
async def test_40_events_and_41_requests_at_once_end_at_81(kind: str, tmp_path: Path) -> None:
    """The events come from two tabs of one browser, by polling and by WebSocket."""
    async with serve(tmp_path, store=STORES[kind](tmp_path)) as site:
        assert await count_to_81(site) == 81


async def test_without_the_lock_40_events_and_41_requests_end_below_81(tmp_path: Path) -> None:
    """Proves that the test above measures the lock."""
    store = SuspendingStore(Unlocked(checks=False))
    async with serve(tmp_path, store=store) as site:
        assert await count_to_81(site) < 81


async def test_without_the_lock_requests_and_events_are_lost(tmp_path: Path) -> None:
    """Proves that the test above measures the lock."""
    store = SuspendingStore(Unlocked(checks=False))
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        socket = await visitor.socket("websocket")
        await asyncio.gather(
            *(work() for _ in range(50) for work in (visitor.incr, lambda: socket.call("incr")))
        )
        assert await socket.call("count") < 101
        await socket.close()


@pytest.mark.express("I1")
@every_store
async def test_a_page_that_only_reads_never_undoes_what_an_event_wrote(
    kind: str, tmp_path: Path
) -> None:
    """Pages that load the session before an event and answer after it leave its change in place."""
    async with serve(tmp_path, store=STORES[kind](tmp_path)) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        socket = await visitor.socket("websocket")
        for number in range(2, 12):
            *pages, count = await asyncio.gather(
                *(visitor.get("/") for _ in range(5)), socket.call("incr")
            )
            assert {status for status, _ in pages} == {200}
            assert count == number
        assert await socket.call("count") == 11
        await socket.close()


@every_store
@pytest.mark.attack("A4")
async def test_edits_and_an_end_at_once_leave_nothing(kind: str, tmp_path: Path) -> None:
    """Each edit is stored or raises SessionEnded, and the session stays ended."""
    async with opened(kind, tmp_path) as store:
        sessions, session = await made(store)

        async def edit() -> None:
            async with sessions.session_for(session.id) as data:
                data.count += 1

        results = await asyncio.gather(
            *(edit() for _ in range(10)),
            sessions.end(session.id, "logout"),
            *(edit() for _ in range(10)),
            return_exceptions=True,
        )
        assert {type(result) for result in results} <= {type(None), bool, SessionEnded}
        assert await store.load(session.id) is None
