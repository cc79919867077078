"""/readyz: who checks, how often, and what of databases that refuse writes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.ops.readiness import Readiness
from app.stores.sqlite.log_check import LogCheck, write_mark
from tests.support.postgres import Postgres
from tests.support.readiness import failed
from tests.support.redis_server import shared_server
from tests.support.site import serve
from tests.support.sites import sites
from tests.support.visitor import Visitor


async def test_probes_share_checks(tmp_path: Path) -> None:
    """Of many at once one checks, and of many after each other a few."""
    made = 0

    async def check() -> bool:
        nonlocal made
        made += 1
        await asyncio.sleep(0.01)
        return False

    readiness = Readiness({"store": check})
    answers = await asyncio.gather(*(readiness.failed() for _ in range(100)))
    assert made == 1
    for _ in range(200):
        answers.append(await readiness.failed())
    assert made <= 7
    assert answers == [["store"]] * 300


async def test_a_probe_that_leaves_does_not_end_the_check_of_another(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def check() -> bool:
        await go.wait()
        return True

    readiness = Readiness({"store": check})
    first, second = (asyncio.ensure_future(readiness.failed()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == []


async def test_a_database_that_refuses_writes_is_not_ready(
    tmp_path: Path, postgres: Postgres
) -> None:
    """As a standby does, which answers every question."""
    name = postgres.database()
    url = postgres.url(name)
    separator = "&" if "?" in url else "?"
    async with serve(tmp_path, database=url) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        assert await failed(ann) == []
    read_only = f"{url}{separator}options=-cdefault_transaction_read_only%3Don"
    async with serve(tmp_path, database=read_only) as site, Visitor(site.url) as ann:
        await ann.sign_in("ann")
        assert await failed(ann) == ["database"]


async def test_checks_leave_no_account(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.url(postgres.database())
    async with serve(tmp_path, database=url) as site, Visitor(site.url) as ann:
        assert await failed(ann) == []
        engine: Any = site.services.accounts._table._engine
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM accounts").scalar() == 0


async def test_processes_that_check_one_file_at_once_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each overwrites the other's mark; that is no damage."""
    keeps = LogCheck.keeps
    overwritten = 0

    def keeps_after_another(log: LogCheck, mark: int) -> bool:
        nonlocal overwritten
        other = sqlite3.connect(log._path, timeout=0)
        with contextlib.closing(other), contextlib.suppress(sqlite3.OperationalError):
            other.execute(write_mark(mark % 1000 + 1))  # refused while the check looks
            overwritten += 1
        return keeps(log, mark)

    async with serve(tmp_path) as site:
        monkeypatch.setattr(LogCheck, "keeps", keeps_after_another)
        assert await site.services.accounts.answers()
    assert overwritten


async def test_a_redis_that_refuses_writes_is_not_ready(tmp_path: Path) -> None:
    """As a replica or a full one does."""
    async with sites(tmp_path, 1) as (site,), Visitor(site.url) as ann:
        assert await failed(ann) == []
        with shared_server().client() as redis:
            assert all(redis.ttl(key) > 0 for key in redis.keys("latchkey:ping:*"))
            redis.config_set("min-replicas-to-write", 1)
            try:
                assert await failed(ann) == ["store"]
            finally:
                redis.config_set("min-replicas-to-write", 0)
        assert await failed(ann) == []
