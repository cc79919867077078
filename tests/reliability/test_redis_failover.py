"""A Redis with replicas and Sentinels: a primary that freezes, that is cut off, and two nodes only.

`tests/stores/test_redis_failover.py` has the primary that is killed, and Sentinels that are away.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from app.stores import StoreUnavailable
from app.stores.redis import client as redis_client
from tests.support.browsers import PythonVisitor, ended
from tests.support.failover import WAIT, count_on, fail_over, port_of, reads, saves
from tests.support.sentinel import REPLICATED, replicated_redis
from tests.support.sites import processes, sites, tabs_at
from tests.support.stores import record
from tests.support.waiting import until

pytestmark = pytest.mark.limit(120)


async def test_a_frozen_primary_fails_over_and_comes_back_as_a_replica(tmp_path: Path) -> None:
    """Acknowledged changes are kept; what reached it before it froze does not count."""
    async with replicated_redis(tmp_path / "redis") as redis:
        await fail_over(tmp_path, redis, signal.SIGSTOP)


async def test_a_primary_that_is_cut_off_is_left_and_acknowledges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sentinels and replicas lose it, processes do not: what it took alone was refused."""
    monkeypatch.setattr(redis_client, "_SENTINEL_INTERVAL", 8.0)
    async with (
        replicated_redis(tmp_path / "redis") as redis,
        sites(tmp_path / "data", 1, url=redis.url + WAIT) as (site,),
        PythonVisitor(site.url) as visitor,
    ):
        (tab,) = await tabs_at(visitor, site)
        acked = await tab.call("incr")
        old = redis.nodes[0]
        with old.client() as asked:
            # those that are connected stay so; Sentinels and replicas cannot come back
            asked.config_set("requirepass", "unknown to the others")
            asked.client_kill_filter(_type="replica")
            for client in asked.client_list():
                if client["name"].startswith("sentinel-"):
                    asked.client_kill_filter(_id=client["id"])
            await redis.failed_over(old)
            assert port_of(site) == old.port
            assert "error" in await tab.call("incr")
            await until(lambda: port_of(site) not in (0, old.port), 30)
            assert "the Sentinels name another primary" in caplog.text
        assert await count_on(visitor, tab, acked) == acked + 1
        assert ended(tab) == []


async def test_one_replica_with_min_replicas_stops_writes_after_a_failover(tmp_path: Path) -> None:
    """So docs/redis.md asks for three nodes; with two, the setting has to be left out."""
    async with (
        replicated_redis(tmp_path / "redis", *REPLICATED, nodes=2) as redis,
        processes(1, redis.url) as (store,),
    ):
        await store.save(record("a"))
        redis.nodes[0].kill()
        new = await redis.failed_over(redis.nodes[0])
        await until(lambda: reads(store), 20)
        with pytest.raises(StoreUnavailable, match=r"NOREPLICAS .* start its replicas"):
            await store.save(record("b"))
        with new.client() as asked:
            asked.config_set("min-replicas-to-write", 0)
        assert await saves(store, "b")
