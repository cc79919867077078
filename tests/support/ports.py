"""Free ports for servers that cannot choose one themselves."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from pathlib import Path

# Below the range from which the kernel takes ports for connections and for port 0 (32768 and up
# on Linux), so nothing takes a port between the choice and its use. Processes of parallel tests
# begin at different numbers.
_LOWEST, _HIGHEST = 10_000, 32_000
_offsets = itertools.count(os.getpid() * 127)


def free_port() -> int:
    """Return a loopback port that nothing listens on and that no other call returned."""
    while True:
        port = _LOWEST + next(_offsets) % (_HIGHEST - _LOWEST)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


def wait_until_open(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a process accepts connections; if it ends before, fail with its log."""
    deadline = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text()[-500:]
            assert time.monotonic() < deadline, f"nothing accepts connections at port {port}"
            time.sleep(0.01)
