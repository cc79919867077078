"""The program in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from app.settings import PREFIX
from tests.support.paths import ROOT


class Process:
    """A running program that serves `url`."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; a process that hangs is killed and fails."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        try:
            await asyncio.wait_for(self.process.wait(), 20)
        except TimeoutError:
            self.process.kill()
            raise
        return self.process.returncode or 0


@contextlib.asynccontextmanager
async def process(
    data_dir: Path,
    *flags: str,
    log: Path | None = None,
    root: Path = ROOT,
    program: str = "tests.support.demo",
    **environ: str,
) -> AsyncIterator[Process]:
    """Start the application of the tests on a free port and wait until it serves.

    `program` is another module to run, such as "app"; `root` is the folder to run it in.
    """
    stderr = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        program,
        "--port=0",
        f"--data-dir={data_dir}",
        *flags,
        cwd=root,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )
    os.close(stderr)
    assert child.stdout is not None
    try:
        line = (await asyncio.wait_for(child.stdout.readline(), 25)).decode()
        assert "http://" in line, f"{program} printed {line!r}"
        url = "http://" + line.partition("http://")[2].split()[0]
        yield Process(child, url)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def run(*flags: str, **environ: str) -> tuple[int, str, str]:
    """Run `python -m app` until it ends by itself; return its code, output and errors.

    Settings of the environment that the tests run in are left out.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app",
        *flags,
        cwd=ROOT,
        env={**clean, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(child.communicate(), 25)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    return child.returncode or 0, out.decode(), err.decode()
