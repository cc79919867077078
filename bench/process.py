"""One server process: started on a free loopback port, measured from outside, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 30.0  # seconds until a server must listen
STOP_LIMIT = 5.0  # seconds from SIGTERM to SIGKILL


class StartError(Exception):
    """A server lacks something or does not listen; the sentence says what."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Server:
    """A running server and what the operating system knows about it, and it alone."""

    def __init__(self, argv: Sequence[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self._is_node = argv[0] == "node"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NODE_ENV": "production"},
                start_new_session=True,  # Ctrl-C reaches the bench, and the bench stops its servers
            )
        # Linux numbers the CPU clock of a process so: clock_getcpuclockid(3) without a C call.
        self._cpu_clock = (~self._process.pid << 3) | 2

    @classmethod
    def start(cls, command: Callable[[int], Sequence[str]], log: Path) -> Server:
        """Start what `command(port)` names and wait until it listens."""
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
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(f"it ended at its start: {self._last_words()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise StartError(f"it did not listen within {START_LIMIT:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing."

    def cpu(self) -> float:
        """Seconds of CPU so far: user and system, all threads, finer than the clock's ticks.

        The kernel adds what a thread has run when it comes off its core or at a tick, so a server
        gets a moment to come to rest first.
        """
        time.sleep(0.01)
        return time.clock_gettime(self._cpu_clock)

    def resident(self) -> int:
        """Bytes of memory that are resident now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def collect_garbage(self) -> None:
        """Ask Node (started with `--expose-gc`) to collect; no other server gets that signal."""
        if self._is_node:
            self._process.send_signal(signal.SIGUSR2)
            time.sleep(0.3)

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
