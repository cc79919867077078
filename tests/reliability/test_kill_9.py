"""`kill -9` in many rounds, under clients that work all the time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

import pytest

from tests.reliability.site import Site, stopped, working
from tests.reliability.workers import Worker
from tests.support.postgres import Postgres
from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor
from tests.support.waiting import until

ROUNDS = 30
CLIENTS = 100
_LEAVERS = 3  # clients that sign out in each round, and sign in again after it


class Victim(Protocol):
    """What is killed and started again."""

    def kill(self) -> Awaitable[None] | None: ...

    def start(self) -> Awaitable[None] | None: ...


async def done(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


async def one_round(workers: list[Worker], site: Site, *victims: Victim) -> None:
    """Let all clients work, kill in the middle, start again, and check every client."""
    leavers = random.sample(workers, _LEAVERS)
    stayers = [worker for worker in workers if worker not in leavers]
    before = sum(worker.acked for worker in stayers)
    working = [asyncio.ensure_future(worker.work()) for worker in stayers]
    ended = [worker.visitor.cookie for worker in leavers]
    newcomer = Visitor(site.url)
    await asyncio.gather(
        newcomer.sign_up(f"newcomer{random.randrange(10**9)}"),
        *(worker.visitor.sign_out() for worker in leavers),
    )
    await until(lambda: sum(worker.acked for worker in stayers) > before + 3 * CLIENTS, 60)
    await asyncio.sleep(random.random() / 10)  # at any moment of an edit
    for victim in victims:
        await done(victim.kill())
    for victim in victims:
        await done(victim.start())
    await until(site.is_ready, 30)
    await stopped(working)
    await asyncio.gather(*(worker.check() for worker in stayers))
    for worker, cookie in zip(leavers, ended, strict=True):
        assert not await worker.is_signed_in(cookie), f"{worker.name} was signed out"
        await worker.visitor.sign_in(worker.name)
        worker.acked = worker.unanswered = 0
    assert (await newcomer.get("/account"))[0] == 200
    await newcomer.close()


@pytest.mark.limit(1200)
async def test_kill_9_loses_nothing_in_sqlite(tmp_path: Path) -> None:
    """The program is killed; sessions and accounts are in SQLite."""
    site = Site(tmp_path)
    await site.start()
    async with working(site, CLIENTS) as workers:
        for _ in range(ROUNDS):
            await one_round(workers, site, site)
    await site.kill()
    assert "Traceback" not in site.logged()


@pytest.mark.limit(1200)
async def test_kill_9_loses_nothing_in_redis_and_postgresql(
    tmp_path: Path, postgres: Postgres
) -> None:
    """In turns the program, Redis, PostgreSQL and all three at once are killed."""
    redis = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always")
    redis.start()
    database = postgres.url(postgres.database())
    site = Site(
        tmp_path,
        LATCHKEY_STORE=redis.url,
        LATCHKEY_DATABASE=database,
        LATCHKEY_SECRET_KEYS="only-for-tests-0123456789",
    )
    await site.start()

    parts: list[Victim] = [redis, postgres, site]
    try:
        async with working(site, CLIENTS) as workers:
            for number in range(ROUNDS):
                # one of the three alone, or all of them
                victims = parts[number % 4 : number % 4 + 1] or parts
                await one_round(workers, site, *victims)
        await site.kill()
    finally:
        redis.kill()
    assert "Traceback" not in site.logged()
