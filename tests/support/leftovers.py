"""The programs that tests start end with the process that runs the tests, however that ends.

    python tests/support/leftovers.py MARK

A watcher sees the end of its standard input when that process ends. Then it kills all processes
whose environment has the mark, which programs inherit. Servers that write their title over their
environment are watched by their ids.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_NAME = "STARTED_BY_TESTS"
_STOP_TIMEOUT = 2.0  # seconds that a server has after SIGTERM
_ROUNDS = 10  # looks for programs that the killed ones have just started


def begin() -> None:
    """Let the programs that this process starts from now on end with it; Linux only."""
    if Path("/proc/self/environ").exists():
        _watcher()


def watch(server: subprocess.Popen[bytes]) -> None:
    """Let a server end with this process though it hides its environment."""
    if Path("/proc/self/environ").exists():
        pipe = _watcher().stdin
        assert pipe is not None
        pipe.write(b"%d\n" % server.pid)


@functools.cache
def _watcher() -> subprocess.Popen[bytes]:
    mark = secrets.token_hex(16)
    watcher = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, f"{_NAME}={mark}"],
        bufsize=0,
        env={},  # so that the watcher of another process does not kill this one
        stdin=subprocess.PIPE,
        start_new_session=True,  # signals to the group of pytest do not reach it
    )
    os.environ[_NAME] = mark
    atexit.register(watcher.communicate)
    return watcher


def _marked(mark: bytes) -> list[int]:
    """Return the ids of the running processes that have the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def _kill_marked(mark: bytes, but: set[int]) -> None:
    for _ in range(_ROUNDS):
        pids = set(_marked(mark)) - but
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _stop(servers: dict[int, int]) -> None:
    """Send SIGTERM to servers, and after a while SIGKILL; the values are their descriptors."""
    for descriptor in servers.values():
        for number in (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
    deadline = time.monotonic() + _STOP_TIMEOUT
    for descriptor in servers.values():
        if not _ended(descriptor, max(0.0, deadline - time.monotonic())):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def _ended(descriptor: int, seconds: float = 0.0) -> bool:
    return bool(select.select([descriptor], [], [], seconds)[0])


def main(mark: str) -> None:
    servers: dict[int, int] = {}
    for line in sys.stdin:
        for pid in [pid for pid, descriptor in servers.items() if _ended(descriptor)]:
            os.close(servers.pop(pid))
        with contextlib.suppress(ProcessLookupError):
            servers[int(line)] = os.pidfd_open(int(line))
    _kill_marked(mark.encode(), but=set(servers))
    _stop(servers)
    _kill_marked(mark.encode(), but=set())


if __name__ == "__main__":
    main(sys.argv[1])
