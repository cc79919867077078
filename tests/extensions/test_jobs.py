"""Periodic jobs and coroutines beside requests: `services.every` and `services.background`."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, serve
from tests.support.waiting import until


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with serve(tmp_path) as running:
        yield running


async def test_a_job_runs_every_so_often_and_for_the_first_time_after_its_interval(
    site: Site,
) -> None:
    """A function may be `async` or not."""
    runs: list[str] = []

    async def seldom() -> None:
        runs.append("seldom")

    site.services.every(0.06, seldom)
    site.services.every(0.02, lambda: runs.append("often"))
    assert runs == []
    await until(lambda: "seldom" in runs)
    assert runs[0] == "often"
    await until(lambda: runs.count("seldom") >= 3)
    assert runs.count("often") > 3


async def test_a_job_does_not_overlap_itself(site: Site) -> None:
    """A run that is longer than the interval skips the times that it missed."""
    gate, runs = asyncio.Event(), 0

    async def slow() -> None:
        nonlocal runs
        runs += 1
        await gate.wait()

    others = 0

    def other() -> None:
        nonlocal others
        others += 1

    site.services.every(0.01, slow)
    site.services.every(0.01, other)
    await until(lambda: others >= 10)
    assert runs == 1
    gate.set()
    await until(lambda: runs >= 2)


async def test_a_job_goes_on_after_an_exception(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """Which is logged with the job's name; so is a cancellation of something that it awaits."""
    runs = 0

    async def fragile() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise OSError("no route to the office")
        if runs == 2:
            asyncio.current_task()
            lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            lost.cancel()
            await lost

    site.services.every(0.01, fragile, name="mail")
    await until(lambda: runs >= 4)
    failures = [line for line in caplog.records if "periodic job failed" in line.message]
    assert [line.message for line in failures] == ["periodic job failed, it goes on job=mail"] * 2
    assert "no route to the office" in caplog.text


async def test_the_handle_cancels_a_job(site: Site) -> None:
    """In the middle of a run too; a job may cancel itself."""
    told: list[str] = []

    async def hang() -> None:
        told.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    job = site.services.every(0.01, hang)
    await until(lambda: told == ["begins"])
    assert not job.cancelled
    job.cancel()
    job.cancel()
    await until(lambda: told == ["begins", "cancelled"])
    assert job.cancelled

    once: list[Any] = []

    def only_once() -> None:
        once.append(None)
        own.cancel()

    own = site.services.every(0.01, only_once)
    later: list[Any] = []
    site.services.every(0.01, lambda: later.append(None))
    await until(lambda: len(later) >= 5)
    assert len(once) == 1


async def test_the_stop_cancels_jobs_and_background_work_and_waits_for_them(
    tmp_path: Path,
) -> None:
    """While the stores are open; the coroutine has half a second to end by itself."""
    told: list[str] = []

    async def hang(name: str, site: Site) -> None:
        told.append(f"{name} begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.2)
            await site.services.sessions.store.ping()
            told.append(f"{name} ends")

    async with serve(tmp_path, store="sqlite") as site:
        site.services.every(0.01, functools.partial(hang, "job", site))
        site.services.background(hang("background", site))
        await until(lambda: len(told) == 2)
    assert sorted(told[2:]) == ["background ends", "job ends"]


async def test_background_work_is_kept_and_its_exceptions_are_logged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller need not keep the task, but may await or cancel it."""
    gate, told = asyncio.Event(), []

    async def work() -> int:
        await gate.wait()
        told.append("done")
        return 7

    async def fail() -> None:
        raise ValueError("bad address")

    site.services.background(work())
    task = site.services.background(work())
    await asyncio.sleep(0)
    gc.collect()
    gate.set()
    assert await task == 7
    assert told == ["done", "done"]
    site.services.background(fail())
    await until(lambda: "bad address" in caplog.text)
    assert "a background task failed" in caplog.text


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
async def test_an_interval_that_makes_no_sense_is_refused(site: Site, seconds: float) -> None:
    with pytest.raises(ValueError, match="the interval must be more than 0 seconds"):
        site.services.every(seconds, print)


async def test_what_is_no_function_is_refused(site: Site) -> None:
    """As when the function is called by mistake."""
    with pytest.raises(TypeError, match="pass the function itself, without calling it"):
        site.services.every(1, None)


async def test_a_job_of_the_site_needs_a_name_of_its_own(site: Site) -> None:
    """The processes know it by its name; that of a function does."""

    async def digest() -> None:
        pass

    every = functools.partial(site.services.every, 60, once_per_site=True)
    with pytest.raises(ValueError, match="needs a name"):
        every(lambda: None)
    with pytest.raises(ValueError, match="needs a name"):
        every(functools.partial(print, "x"))
    first = every(digest)
    assert first.name.endswith("digest")
    with pytest.raises(ValueError, match="two jobs of the site are called"):
        every(digest)
    every(digest, name="other")
    first.cancel()
    await asyncio.sleep(0.01)
    every(digest)


async def test_once_per_site_needs_no_redis_for_one_process(site: Site) -> None:
    """With --store sqlite or memory this process is the site."""
    runs: list[Any] = []
    site.services.every(0.01, lambda: runs.append(None), once_per_site=True, name="digest")
    await until(lambda: len(runs) >= 3)
