"""A Redis with replicas and Sentinels: a primary that dies, freezes or is cut off; Sentinels away.

Acknowledged changes survive, nobody is signed out, and sockets stay open.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from app.stores import StoreUnavailable
from app.stores.redis import client as redis_client
from tests.support.browsers import PythonVisitor
from tests.support.failover import WAIT, count_on, fail_over, port_of, saves
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.redis_server import RedisServer
from tests.support.sentinel import KEPT, ReplicatedRedis, replicated_redis
from tests.support.sites import processes, sites, tabs_at
from tests.support.stores import record
from tests.support.waiting import until

pytestmark = pytest.mark.limit(90)


async def test_three_nodes_fail_over_and_keep_what_was_acknowledged(tmp_path: Path) -> None:
    """The primary is killed, and comes back as a replica, with no clients."""
    async with replicated_redis(tmp_path / "redis") as redis:
        await fail_over(tmp_path, redis, signal.SIGKILL)


async def test_a_change_that_no_replica_has_is_not_acknowledged(tmp_path: Path) -> None:
    """With wait_replicas; the error says what to do, and all is well when the replica is back."""
    primary = RedisServer(tmp_path / "primary")
    replica = RedisServer(tmp_path / "replica", "--replicaof", f"127.0.0.1 {primary.port}")
    try:
        primary.start()
        replica.start()
        with replica.client() as asked:
            await until(lambda: asked.info("replication")["master_link_status"] == "up", 15)
        async with (
            processes(1, primary.url + WAIT) as (store,),
            processes(1, primary.url) as (hasty,),
        ):
            await store.save(record("a"))
            with replica.client() as asked:
                assert asked.exists("latchkey:{a}")
            replica.send(signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match=r"0 of 1 replicas .* start its replicas"):
                await store.save(record("b"))
            # reads and locks need no replica
            lease = await store.lock("a")
            assert lease.record == await store.load("a")
            with pytest.raises(StoreUnavailable):
                await lease.save(b"changed")
            await hasty.save(record("c"))
            replica.send(signal.SIGCONT)
            await until(lambda: saves(store, "d"))
    finally:
        replica.kill()
        primary.kill()


async def test_too_few_replicas_are_logged_at_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sentence says how many there are and how many are waited for."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        async with processes(1, server.url + WAIT) as (store,):
            assert await store.load("a") is None
        assert "has 0 replicas" in caplog.text
        assert "wait_replicas=1; start them" in caplog.text
    finally:
        server.kill()


async def test_a_redis_works_without_its_sentinels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A lost connection is made again; the log says once that they are away, and once: back."""
    monkeypatch.setattr(redis_client, "_SENTINEL_INTERVAL", 0.1)
    caplog.set_level("INFO")
    async with (
        replicated_redis(tmp_path / "redis", *KEPT, nodes=1, sentinels=2) as redis,
        sites(tmp_path / "data", 1, url=redis.url) as (site,),
        PythonVisitor(site.url) as visitor,
    ):
        (tab,) = await tabs_at(visitor, site)
        assert await tab.call("incr") == 1
        for sentinel in redis.sentinels:
            sentinel.kill()
        await until(lambda: "no Sentinel of main answers" in caplog.text)
        redis.nodes[0].kill()
        await until(lambda: port_of(site) == 0)
        redis.nodes[0].start()
        await count_on(visitor, tab, 1)
        for sentinel in redis.sentinels:
            sentinel.start()
        await until(lambda: "the Sentinels of main are back" in caplog.text)
    assert caplog.text.count("no Sentinel of main answers") == 1
    assert caplog.text.count("refuses connections") >= 2
    assert "object at 0x" not in caplog.text
    assert "redis.asyncio" not in caplog.text


async def test_a_start_without_sentinels_says_what_each_of_them_did(tmp_path: Path) -> None:
    """One that is away, and one that watches something else: a sentence for each."""
    other = ReplicatedRedis(tmp_path / "redis", nodes=1, sentinels=1)
    away = free_port()
    try:
        await other.start()
        known = other.sentinels[0].port
        code, _, said = await run(
            f"--store=redis+sentinel://127.0.0.1:{away},127.0.0.1:{known}/unknown",
            "--secret-keys=only-for-tests-0123456789",
            f"--data-dir={tmp_path / 'data'}",
        )
    finally:
        other.stop()
    assert code == 1
    assert f"127.0.0.1:{away} refuses connections" in said
    assert f"127.0.0.1:{known} watches no unknown" in said
    assert "Traceback" not in said
    assert "<" not in said
