"""The counts of all processes, now and in the last hour."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.cluster import shared_counts
from app.cluster.shared_counts import RedisCounts
from app.ops import site_counts
from app.ops.site_counts import SLOT, SLOTS, Counts, LocalCounts, SiteCounts
from app.stores.redis import RedisClient
from tests.support.redis_server import empty_redis
from tests.support.waiting import until


async def test_a_process_alone_keeps_an_hour() -> None:
    """Older slots are dropped."""
    counts = LocalCounts()
    for slot in range(SLOTS + 10):
        await counts.add(slot, Counts(events=slot))
    kept: Mapping[int, Counts] = await counts.slots(0)
    assert list(kept) == list(range(10, SLOTS + 10))


async def test_two_processes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What both do now, and what both did in each slot; one that is silent counts no more."""
    url = empty_redis()
    clients = [RedisClient(url), RedisClient(url)]
    for client in clients:
        await client.open()
    try:
        one, two = (RedisCounts(client) for client in clients)
        await one.tell(Counts(3, 2, 10, 1))
        await two.tell(Counts(4, 4, 20, 0))
        assert await one.now() == await two.now() == Counts(7, 6, 30, 1)
        for slot in (5, 6):
            await one.add(slot, Counts(3, 2, 100, 1))
            await two.add(slot, Counts(4, 4, 200, 2))
        assert await one.slots(6) == {6: Counts(7, 6, 300, 3)}
        monkeypatch.setattr(shared_counts, "_TIMEOUT", -1.0)
        await two.tell(Counts(4, 4, 20, 0))
        assert await one.now() == Counts()
    finally:
        for client in clients:
            await client.close()


async def test_totals_become_events_of_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process tells what it did since the second, or the slot, before."""
    monkeypatch.setattr(site_counts, "_INTERVAL", 0.01)
    now, total = 1000.0 * SLOT, Counts(1, 1, 500, 50)
    counts = SiteCounts(lambda: total, clock=lambda: now)
    counts.start()
    try:
        await until(lambda: _told(counts, Counts(1, 1, 0, 0)))
        total = Counts(2, 1, 530, 53)
        await until(lambda: _told(counts, Counts(2, 1, 0, 3)))
        now += SLOT
        await until(lambda: _slot(counts, Counts(2, 1, 30, 3)))
        await until(lambda: _told(counts, Counts(2, 1, 0, 0)))
    finally:
        await counts.stop()


async def _told(counts: SiteCounts, wanted: Counts) -> bool:
    return await counts.now() == wanted


async def _slot(counts: SiteCounts, wanted: Counts) -> bool:
    hour = await counts.hour()
    return len(hour) == SLOTS and hour[-1] == wanted and not any(each.events for each in hour[:-1])
