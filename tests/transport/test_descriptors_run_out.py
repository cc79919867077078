"""A process without free descriptors waits for one and does not spin."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.demo.session import BaseHandler
from tests.support.fork import fork
from tests.support.http_site import http_site
from tests.support.paths import ROOT
from tests.support.process import Process
from tests.support.raw import Raw
from tests.support.site import serve
from tests.support.waiting import until


@pytest.mark.attack("A27")
async def test_a_process_without_descriptors_idles_and_recovers(tmp_path: Path) -> None:
    """Idle connections take all descriptors; the process uses little CPU and logs few lines."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    log = tmp_path / "log"
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "app",
            "--port=0",
            "--store=memory",
            f"--data-dir={tmp_path / 'data'}",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            preexec_fn=few,
        )
    try:
        assert child.stdout is not None
        url = (
            "http://" + (await child.stdout.readline()).decode().partition("http://")[2].split()[0]
        )
        port = int(url.rpartition(":")[2])

        def seconds() -> float:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(120)]
        before = seconds()
        await asyncio.sleep(2)
        spent = seconds() - before
        for _, writer in idle:
            writer.close()
        await asyncio.sleep(1)
        async with Raw(url) as raw:
            assert (await raw.ask("/healthz")).status == 200
        assert spent < 0.5, f"{spent} s of CPU in 2 s"
        assert log.stat().st_size < 20_000
        assert "out of file descriptors (limit 64)" in log.read_text()
    finally:
        child.kill()
        await child.wait()


@contextlib.asynccontextmanager
async def few_descriptors(tmp_path: Path, limit: int, loop: str) -> AsyncIterator[Process]:
    """Run the program with few descriptors; its log is in the file `log`."""
    program = (
        "import resource, sys\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))\n"
        f"if {loop == 'asyncio'}: sys.modules['uvloop'] = None\n"
        "from app.__main__ import main\n"
        "sys.exit(main())\n"
    )
    flags = ("--port=0", "--store=memory", f"--data-dir={tmp_path / 'data'}")
    with (tmp_path / "log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, *flags),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    assert child.stdout is not None
    try:
        line = (await asyncio.wait_for(child.stdout.readline(), 15)).decode()
        yield Process(child, "http://" + line.partition("http://")[2].split()[0])
    finally:
        child.kill()
        await child.wait()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.attack("A27")
async def test_a_page_gets_503_without_descriptors(tmp_path: Path, loop: str) -> None:
    """The log has the reason; open connections get pages from the reserve."""
    async with few_descriptors(tmp_path, 100, loop) as server, Raw(server.url) as early:
        assert (await early.ask("/")).status == 200
        port = int(server.url.rpartition(":")[2])
        idle = []
        for _ in range(120):  # one after the other, as visitors come
            idle.append(await asyncio.open_connection("127.0.0.1", port))
            await asyncio.sleep(0.005)
        for _ in range(3):
            async with Raw(server.url) as late:
                answer = await late.ask("/healthz")
                assert (answer.status, answer.all("Connection")) == (503, ["close"])
        assert (await early.ask("/static/style.css")).status == 200
        assert (await early.ask("/login")).status == 200
        for _, writer in idle:
            writer.close()
        await until(lambda: _served(server.url))
    log = (tmp_path / "log").read_text()
    assert "out of file descriptors (limit 100), connections are refused with 503" in log
    assert "Traceback" not in log
    assert len(log.splitlines()) < 40


async def _served(url: str) -> bool:
    async with Raw(url) as raw:
        return (await raw.ask("/healthz")).status == 200


async def test_a_failed_accept_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """All descriptors are used up at once. asyncio logs other failures as usual."""
    async with http_site() as site:
        loop = asyncio.get_running_loop()
        error = OSError(errno.EMFILE, "Too many open files")
        for _ in range(50):
            loop.call_exception_handler(
                {"message": "accept", "exception": error, "socket": object()}
            )
        lines = list(caplog.messages)
        assert 0 < len(lines) <= 5
        assert all("out of file descriptors" in line for line in lines)
        loop.call_exception_handler({"message": "something else"})
        assert caplog.messages[-1] == "something else"
        assert site.server.descriptors.limit > 0


async def test_a_file_gets_503_without_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has no traceback. Any other failure to open a file is still a 500."""

    class Opens(BaseHandler):
        def get(self) -> None:
            raise OSError(int(self.get_query_argument("errno")), "no")

    modules = fork(monkeypatch, routes=[("/opens", Opens)])
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        for number in (errno.EMFILE, errno.ENFILE):
            assert (await raw.ask(f"/opens?errno={number}")).status == 503
        assert not any(record.exc_info for record in caplog.records)
        assert (await raw.ask(f"/opens?errno={errno.EACCES}")).status == 500
