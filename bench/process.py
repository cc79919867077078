"""A server process: started on a free loopback port, measured from outside, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 30.0  # seconds until a server must listen
STOP_TIMEOUT = 5.0  # seconds from SIGTERM to SIGKILL


class StartError(Exception):
    """A server cannot be started; the message says why."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Program(Protocol):
    """A running program: the part of `subprocess.Popen` that a server needs."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


def start_program(argv: Sequence[str], output: BinaryIO) -> Program:
    """Start a program whose outputs go to a file."""
    return subprocess.Popen(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NODE_ENV": "production"},
        start_new_session=True,  # Ctrl-C reaches the bench, and the bench stops its servers
    )


class Server:
    """A running server, measured by what the operating system knows of its process."""

    def __init__(self, argv: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self._collects = "--expose-gc" in argv
        with log.open("wb") as output:
            self._process = start_program(argv, output)
        # Linux numbers the CPU clock of a process so: clock_getcpuclockid(3) without a C call.
        self._cpu_clock = (~self._process.pid << 3) | 2

    @classmethod
    def start(cls, command: Callable[[int], Sequence[str]], log: Path) -> Server:
        """Run `command(port)` and wait until it listens."""
        port = free_port()
        try:
            server = cls(command(port), port, log)
        except FileNotFoundError as missing:
            raise StartError(f"{missing.filename} is not installed.") from None
        try:
            server._wait_until_it_listens()
        except BaseException:
            server.stop()
            raise
        return server

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(f"it ended at its start: {self._last_line()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise StartError(f"it did not listen within {START_TIMEOUT:.0f} s: {self._last_line()}")

    def _last_line(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it printed nothing."

    def cpu(self) -> float:
        """Return the seconds of CPU so far: user and system, all threads.

        The kernel adds the time of a thread when it leaves its core or at a tick, so give the
        server a moment to come to rest.
        """
        time.sleep(0.01)
        return time.clock_gettime(self._cpu_clock)

    def resident(self) -> int:
        """Return the bytes of resident memory."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def collect_garbage(self) -> None:
        """Ask a server that was started with `--expose-gc` to collect; no other gets the signal."""
        if self._collects:
            self._process.send_signal(signal.SIGUSR2)
            time.sleep(0.3)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
