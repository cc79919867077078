"""A run of the tests that is killed leaves no programs behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.waiting import until

RUN = """
import asyncio, os, pathlib, subprocess, sys
from tests.support import forked, leftovers
from tests.support.redis_server import RedisServer

async def main():
    leftovers.begin()
    redis = RedisServer(pathlib.Path(sys.argv[1], "redis"))
    redis.start()
    program = await forked.start(
        "app", "--port=0", "--data-dir=" + sys.argv[1], environ=os.environ
    )
    await program.stdout.readline()
    plain = subprocess.Popen(["sleep", "60"])
    print(redis.process.pid, program.pid, plain.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc of Linux")
async def test_programs_end_with_the_process_that_runs_the_tests(tmp_path: Path) -> None:
    """A server that hides its environment, a preloaded program and any other one."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN, str(tmp_path)),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "LATCHKEY" not in name},
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    pids = [int(word) for word in (await child.stdout.readline()).split()]
    assert [runs(pid) for pid in pids] == [True] * 3
    child.send_signal(signal.SIGKILL)
    await child.wait()
    await until(lambda: not any(map(runs, pids)), 10)
