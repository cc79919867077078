"""`services.every(..., once_per_site=True)`: one process at a time runs the job."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.cluster.site_job import SiteJob
from app.stores.redis import RedisClient
from tests.support.cluster import SECRET
from tests.support.process import process
from tests.support.redis_server import RedisServer, empty_redis
from tests.support.sites import sites
from tests.support.waiting import until

PROGRAM = """
import sys

from app.program import run
from handlers.session import SessionData

if __name__ == "__main__":
    sys.exit(run(("product.jobs",), SessionData))
"""
MODULE = """
import asyncio
from pathlib import Path

RUNS, HANG = Path("runs"), Path("hang")


async def on_start(services):
    number = services.settings.process_number

    def note(word):
        with RUNS.open("a") as file:
            file.write(f"{number} {word}\\n")

    async def work():
        note("begins")
        try:
            await asyncio.sleep(0.05)
            while HANG.exists() and HANG.read_text() == str(number):
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            note("cancelled")
            raise
        note("ends")

    services.every(0.5, work, once_per_site=True)
"""


class Runs:
    """What the processes wrote about their runs."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "runs"

    def lines(self) -> list[tuple[int, str]]:
        if not self._file.exists():
            return []
        words = [line.split() for line in self._file.read_text().splitlines()]
        return [(int(number), word) for number, word in words]

    def ended(self, number: int) -> int:
        return self.lines().count((number, "ends"))


@pytest.mark.limit(90)
async def test_one_process_runs_the_job_and_another_takes_over(tmp_path: Path) -> None:
    """Whether the first one is suspended, or dies; a suspended one cancels its run afterwards."""
    folder = tmp_path / "product"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "jobs.py").write_text(MODULE)
    runs = Runs(tmp_path)
    environ: Any = {"LATCHKEY_STORE": empty_redis(), "LATCHKEY_SECRET_KEYS": SECRET}
    async with contextlib.AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(
                process(
                    tmp_path / str(number),
                    f"--process-number={number}",
                    root=tmp_path,
                    program="product",
                    **environ,
                )
            )
            for number in range(2)
        ]
        await until(lambda: len(runs.lines()) >= 6)
        first = runs.lines()[0][0]
        second = 1 - first
        assert {number for number, _ in runs.lines()} == {first}

        (tmp_path / "hang").write_text(str(first))
        await until(lambda: runs.lines()[-1] == (first, "begins"))
        started[first].process.send_signal(signal.SIGSTOP)
        await until(lambda: runs.ended(second) >= 2)
        started[first].process.send_signal(signal.SIGCONT)
        await until(lambda: (first, "cancelled") in runs.lines())

        before = runs.ended(second)
        await until(lambda: runs.ended(second) >= before + 3)
        began = runs.lines().count((first, "begins"))
        (tmp_path / "hang").unlink()
        started[second].process.kill()
        await until(lambda: runs.lines().count((first, "begins")) > began)


async def test_a_process_that_stops_gives_the_job_to_another(tmp_path: Path) -> None:
    """At once: the next run comes when it is due."""
    async with contextlib.AsyncExitStack() as stack:
        one, two = await stack.enter_async_context(sites(tmp_path))
        runs: list[int] = []
        for number, site in enumerate((one, two)):
            site.services.every(
                1, lambda number=number: runs.append(number), once_per_site=True, name="job"
            )
        await until(lambda: len(runs) >= 2)
        assert len(set(runs)) == 1
        await (one, two)[runs[0]].services.jobs.stop()
        await until(lambda: len(set(runs)) == 2)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[RedisClient]:
    client = RedisClient(url)
    await client.open()
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def repeating(job: SiteJob, work: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(job.run(work))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_the_interval_goes_on_when_processes_are_restarted() -> None:
    """What is left of it is in Redis, so a job that runs once a day runs despite deployments."""
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    async with connected(empty_redis()) as client:
        await client.execute("SET", "latchkey:job:digest", f"{'-' * 16} 5 30")
        async with repeating(SiteJob(client, "digest", 86400), work):
            await ran.wait()


async def test_a_lease_ends_by_no_clock_of_redis() -> None:
    """Its key has no expiry, so a step of the clock cannot give the job to two processes."""
    ran = asyncio.Event()

    async def work() -> None:
        ran.set()

    async with (
        connected(empty_redis()) as client,
        repeating(SiteJob(client, "digest", 0.05), work),
    ):
        await ran.wait()
        assert await client.execute("PTTL", "latchkey:job:digest") == -1


async def test_without_redis_the_job_stops_and_comes_back(tmp_path: Path) -> None:
    """A process that cannot renew its lease cancels the work, since another may begin it."""
    server = RedisServer(tmp_path)
    server.start()
    told: list[str] = []

    async def work() -> None:
        told.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    try:
        async with (
            connected(server.url) as client,
            repeating(SiteJob(client, "digest", 0.1), work),
        ):
            await until(lambda: told == ["begins"])
            server.kill()
            await until(lambda: told == ["begins", "cancelled"])
            server.start()
            await until(lambda: told == ["begins", "cancelled", "begins"])
    finally:
        server.kill()


async def test_a_redis_that_lost_its_data_does_not_interrupt_the_job() -> None:
    """The process that leads writes its lease again, and the others wait for that."""
    told: list[str] = []
    url = empty_redis()

    def worker(name: str) -> Any:
        async def work() -> None:
            told.append(name)
            await asyncio.Event().wait()

        return work

    async with (
        connected(url) as one,
        connected(url) as two,
        repeating(SiteJob(one, "digest", 0.1), worker("one")),
    ):
        await until(lambda: told == ["one"])
        async with repeating(SiteJob(two, "digest", 0.1), worker("two")):
            for _ in range(3):
                before = await one.execute("GET", "latchkey:job:digest")
                await until(lambda before=before: changed(one, before))
                await one.execute("DEL", "latchkey:job:digest")
            await until(lambda: changed(one, None))
        assert told == ["one"]


async def changed(client: RedisClient, before: bytes | None) -> bool:
    return bool(await client.execute("GET", "latchkey:job:digest") != before)
