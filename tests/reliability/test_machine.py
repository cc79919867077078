"""A machine that fails: its disk, its files, its clock, its descriptors, its memory."""

from __future__ import annotations

import asyncio
import contextlib
import io
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.site import Site, at_work, working
from tests.reliability.workers import GONE, Worker
from tests.support.faketime import faketime
from tests.support.process import run
from tests.support.small_disk import small_disk
from tests.support.visitor import Visitor
from tests.support.waiting import until

CLIENTS = 20

pytestmark = pytest.mark.limit(180)


@contextlib.asynccontextmanager
async def under_clients(site: Site) -> AsyncIterator[list[Worker]]:
    """Run a site under clients; afterwards nothing is lost and the log has no traceback."""
    if site.running is None:
        await site.start()
    try:
        async with working(site, CLIENTS) as workers:
            async with at_work(workers):
                await progress(workers)
                yield workers
                await until(site.is_ready, 60)
                await progress(workers)
            await asyncio.gather(*(worker.check() for worker in workers))
    finally:
        await site.kill()
    assert "Traceback" not in site.logged()


async def progress(workers: list[Worker]) -> None:
    """Wait until changes have been acknowledged to all clients that are still connected."""
    before = sum(worker.acked for worker in workers)
    await until(lambda: sum(worker.acked for worker in workers) > before + 5 * CLIENTS, 60)


def refused(workers: list[Worker]) -> int:
    return sum(worker.refused for worker in workers)


async def test_a_full_disk_refuses_changes_and_loses_none(tmp_path: Path) -> None:
    """Changes get 503 until there is room; nobody is signed out and no socket is closed."""
    with small_disk(tmp_path / "disk", megabytes=20) as disk:
        async with under_clients(Site(tmp_path, data=disk.folder / "data")) as workers:
            disk.fill()
            await until(lambda: refused(workers) > 3 * CLIENTS, 60)
            disk.free()


async def test_a_folder_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """One sentence names it; the next start, when it can be written again, serves the data."""
    with small_disk(tmp_path / "disk", megabytes=20) as disk:
        site = Site(tmp_path, data=disk.folder / "data")
        async with under_clients(site):
            pass
        for mode in ("ro", "rw"):
            command = ["mount", "-o", f"remount,{mode}", disk.folder]
            await until(lambda c=command: subprocess.run(c, check=False).returncode == 0)
            if mode == "ro":
                outcome, out, error = await run("--port=0", f"--data-dir={site.data}")
                assert (outcome, out, error.count("\n")) == (1, "", 1), error
                assert "read-only" in error.lower() or "readonly" in error.lower(), error
        await site.start()
        await site.kill()


def whole(path: Path) -> None:
    path.write_bytes(b"this is no database\n" * 500)


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    start = len(data) // 3
    data[start : start + 3000] = b"\xa5" * len(data[start : start + 3000])
    path.write_bytes(data)


def head(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(bytes(100) + data[100:])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [whole, half, middle, head, empty])
@pytest.mark.parametrize("file", ["accounts.sqlite3", "sessions.sqlite3", "secret_key"])
async def test_a_damaged_file_is_named(
    tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    """The start is refused with a sentence that names the file, or pages get no worse than 503."""
    site = Site(tmp_path)
    await site.start()
    async with working(site, 3):
        assert site.running
        await site.running.stop()
    await site.kill()
    damage(site.data / file)
    with contextlib.suppress(AssertionError):  # it has not started
        await site.start()
        async with Visitor(site.url) as visitor:
            for path in ("/", "/login", "/readyz"):
                assert (await visitor.get(path))[0] in (200, 503), path
            answer = await visitor.post("/login", json={"username": "worker1", "password": "x" * 9})
            assert answer[0] in (401, 503), answer
        assert "Traceback" not in site.logged()
        await site.kill()
        return
    assert file in site.logged()
    assert "Traceback" not in site.logged()


@pytest.mark.parametrize("step", ["+1h", "-1h"])
async def test_a_clock_that_steps_an_hour_signs_nobody_out(tmp_path: Path, step: str) -> None:
    """It steps, and later back; clients work all the time."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environ: dict[str, Any] = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    site = Site(tmp_path, "--session-idle-timeout=1800", **environ)
    async with under_clients(site) as workers:
        for time in (step, "+0", step):
            clock.write_text(time)
            await until(lambda: "step=" in site.logged())
            await progress(workers)
            await asyncio.gather(*(still(worker) for worker in workers))


async def still(worker: Worker) -> None:
    """Check that a user is still signed in."""
    assert f'"user": "{worker.name}"' in (await worker.visitor.get("/session"))[1]


async def test_a_frozen_process_goes_on_where_it_was(tmp_path: Path) -> None:
    """Clients wait for 10 s, and go on."""
    site = Site(tmp_path)
    async with under_clients(site):
        assert site.running
        site.running.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(10)
        site.running.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def limit(pid: int, kind: int, value: int) -> Iterator[None]:
    """Set a limit of a process, or for 0 of this one and those that it starts."""
    before, most = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, most))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (before, most))


async def test_a_process_without_descriptors_loses_nothing(tmp_path: Path) -> None:
    """New connections are refused with 503, clients that are connected go on."""
    site = Site(tmp_path)
    site.preload = False
    with limit(0, resource.RLIMIT_NOFILE, 120):
        await site.start()
    async with under_clients(site) as workers:
        crowd = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(120)]
        await progress(workers)
        assert "out of file descriptors" in site.logged()
        for _, writer in crowd:
            writer.close()


async def test_a_process_without_memory_loses_nothing(tmp_path: Path) -> None:
    """Whether it lives on or ends, what it has acknowledged is stored."""
    site = Site(tmp_path, "--max-message-size=50000000")
    await site.start()
    async with working(site, CLIENTS) as workers:
        async with at_work(workers):
            await progress(workers)
            assert site.running
            pid = site.running.process.pid
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            with limit(pid, resource.RLIMIT_AS, pages * resource.getpagesize() + 20_000_000):
                answers = await asyncio.gather(*(send_large(site) for _ in range(10)))
            assert any(status not in (200, 401, 422) for status in answers), answers
        await site.kill()
        await site.start()
        await asyncio.gather(*(worker.check() for worker in workers))
    await site.kill()


async def send_large(site: Site) -> int:
    """Send a body of 40 MB; return the status, 0 if the connection was closed."""
    async with Visitor(site.url) as visitor:
        try:
            return (await visitor.post("/login", data=io.BytesIO(bytes(40_000_000))))[0]
        except GONE:
            return 0
