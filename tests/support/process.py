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
from tests.support import forked
from tests.support.paths import ROOT

Running = asyncio.subprocess.Process | forked.Child


class Process:
    """A running program that serves `url`."""

    def __init__(self, process: Running, url: str) -> None:
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
    preload: bool = True,
    **environ: str,
) -> AsyncIterator[Process]:
    """Start the application of the tests on a free port and wait until it serves.

    `program` is another module to run, such as "app"; `root` is the folder to run it in.
    `preload=False` starts it as a command does, with all of its imports.
    """
    stderr = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT)
    arguments = ("--port=0", f"--data-dir={data_dir}", *flags)
    try:
        environ = {**os.environ, **environ}
        start = _start if preload else _start_command
        child = await start(program, *arguments, environ=environ, root=root, stderr=stderr)
    finally:
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


async def _start(
    program: str,
    *arguments: str,
    environ: dict[str, str],
    root: Path = ROOT,
    stderr: int | None = None,
) -> Running:
    """Start a program; as a command if it has settings of Python or the loader."""
    given = {name for name, value in environ.items() if os.environ.get(name) != value}
    given.discard("PYTHONDONTWRITEBYTECODE")
    if any(name.startswith(("PYTHON", "LD_")) for name in given):
        return await _start_command(program, *arguments, environ=environ, root=root, stderr=stderr)
    return await forked.start(program, *arguments, environ=environ, root=root, stderr=stderr)


async def _start_command(
    program: str, *arguments: str, environ: dict[str, str], root: Path, stderr: int | None
) -> Running:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program, *arguments),
        cwd=root,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if stderr is None else stderr,
    )


async def run(
    *arguments: str, program: str = "app", typed: str = "", **environ: str
) -> tuple[int, str, str]:
    """Run a program until it ends by itself; return its code, output and errors.

    Settings of the environment that the tests run in are left out. `typed` is its input.
    """
    return await run_copy(ROOT, *arguments, program=program, typed=typed, **environ)


async def run_copy(
    root: Path, *arguments: str, program: str = "app", typed: str = "", **environ: str
) -> tuple[int, str, str]:
    """Run a program as `run` does, in the folder of a copy."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    child = await _start(program, *arguments, environ={**clean, **environ}, root=root)
    try:
        out, err = await asyncio.wait_for(child.communicate(typed.encode()), 25)
    except TimeoutError:
        child.kill()
        await child.wait()
        raise
    return child.returncode or 0, out.decode(), err.decode()
