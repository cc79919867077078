"""Rate limits that the processes over one Redis count together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.cluster.shared_rates import SharedRate, SharedRates
from app.common.rates import MINUTE
from app.stores.redis import RedisClient
from tests.support.raw import POLLING, Raw
from tests.support.redis_server import RedisServer, empty_redis, shared_server
from tests.support.sites import sites
from tests.support.waiting import until


@contextlib.asynccontextmanager
async def rates(
    maximum: int, url: str = "", count: int = 2, seconds: float = MINUTE
) -> AsyncIterator[list[SharedRate]]:
    """Open one rate as several processes have it."""
    url = url or empty_redis()
    clients = [RedisClient(url) for _ in range(count)]
    for client in clients:
        await client.open()
    try:
        yield [SharedRates(client).make("tries", maximum, seconds) for client in clients]
    finally:
        for client in clients:
            await client.close()


async def test_processes_count_together() -> None:
    """What one process counts is used up at the other, for this key only."""
    async with rates(4) as (one, two):
        assert [await one.take("a"), await two.take("a")] == [0, 0]
        await one.hit("a")
        assert await two.wait("a") == 0
        assert await two.take("a") == 0
        for rate in (one, two):
            assert 59 <= await rate.take("a") <= 60
            assert 59 <= await rate.wait("a") <= 60
            assert await rate.wait("b") == 0


async def test_the_window_slides() -> None:
    """A key may go on when its oldest hit is out of the window, and Redis forgets it then."""
    async with rates(2, seconds=0.5) as (one, two):
        assert await one.take("a") == 0
        assert await two.take("a") == 0
        assert await one.take("a") == 1
        assert await two.take("a") == 1

        async def free() -> bool:
            return await two.wait("a") == 0

        await until(free)
        assert await two.take("a") == 0
        with shared_server().client() as redis:
            await until(lambda: redis.keys("latchkey:rate:*") == [])


async def test_the_longest_wait_of_several_keys_counts() -> None:
    """A sign-in is counted for its address and its account; each of them can refuse it."""
    async with rates(2) as (one, two):
        await one.hit("address", "account")
        await one.hit("address", "other account")
        assert await two.wait("address", "account") > 0
        assert await two.wait("other address", "account") == 0
        await two.hit("other address", "account")
        assert await one.wait("other address", "account") > 0


async def test_a_refused_key_is_not_asked_for_again() -> None:
    """A flood of refused clients does not reach Redis."""
    async with rates(1) as (one, _), contextlib.AsyncExitStack() as stack:
        redis = stack.enter_context(shared_server().client())
        assert await one.take("a") == 0
        assert await one.take("a") > 0
        before = redis.info("stats")["total_commands_processed"]
        for _ in range(100):
            assert await one.take("a") > 0
        assert redis.info("stats")["total_commands_processed"] - before < 10


async def test_a_clock_of_redis_that_was_set_back_locks_nobody_out() -> None:
    """Hits of the future are forgotten."""
    async with rates(1) as (one, _):
        with shared_server().client() as redis:
            redis.rpush("latchkey:rate:tries:a", int(time.time() * 1000) + 3_600_000)
        assert await one.take("a") == 0


async def test_no_limit_asks_nothing() -> None:
    async with rates(0) as (one, _):
        assert [await one.take("a") for _ in range(5)] == [0] * 5
        with shared_server().client() as redis:
            assert redis.keys("latchkey:rate:*") == []


async def test_without_redis_each_process_counts_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What it has counted with Redis is not forgotten; the log says so once."""
    caplog.set_level("INFO")
    server = RedisServer(tmp_path)
    server.start()
    try:
        async with rates(3, server.url) as (one, two):
            assert await one.take("a") == 0
            assert await two.take("a") == 0
            server.kill()
            assert [await one.take("a"), await one.take("a")] == [0, 0]
            assert await one.take("a") > 0
            assert await one.wait("a") > 0
            assert await two.wait("a") == 0
            await two.hit("a")
            lines = [record for record in caplog.records if record.name == "latchkey.rates"]
            assert len(lines) == 2  # one of each process
            assert "in each process alone until Redis answers" in lines[0].getMessage()
            server.start()
            await until(lambda: one._rates.client.connected)
            assert await one.take("b") == 0
            assert "count for all processes again" in caplog.text
    finally:
        server.kill()


async def test_two_processes_share_the_limit_of_handshakes(tmp_path: Path) -> None:
    """The address that has used it up at one is refused at the other."""
    async with sites(tmp_path, handshakes_per_minute=4) as (one, two):
        statuses = []
        for site in (one, two, one, two, one, two):
            async with Raw(site.url) as raw:
                answer = await raw.ask(POLLING)
            statuses.append(answer.status)
        assert statuses == [200] * 4 + [429] * 2
        assert 1 <= int(answer.all("Retry-After")[0]) <= 60


async def test_two_processes_share_the_limit_of_failed_logins(tmp_path: Path) -> None:
    """Tries at one process leave fewer at the other."""
    async with sites(tmp_path, failed_logins_per_minute=3) as (one, two):
        limits = [site.services.limits for site in (one, two)]
        for number in range(3):
            assert await limits[0].login_wait("192.0.2.1", "ann") == 0
            await limits[number % 2].login_failed("192.0.2.1", "ann")
        for each in limits:
            assert await each.login_wait("192.0.2.1", "bert") > 0
            assert await each.login_wait("192.0.2.2", "ann") > 0
            assert await each.login_wait("192.0.2.2", "bert") == 0
