"""Real redis-servers on free loopback ports, each with a folder of its own."""

from __future__ import annotations

import atexit
import functools
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import redis

from tests.support import leftovers
from tests.support.ports import free_port, wait_until_open
from tests.support.requirements import find_program


class RedisServer:
    """A redis-server that can be killed, stopped, and started again on its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers, with `LOADING` too."""
        program = find_program("redis-server")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *self.arguments()],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        leftovers.watch(self.process)
        wait_until_open(self.port, self.process, self.folder / "log")

    def arguments(self) -> list[str]:
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "no", *self.options),
        ]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it by SIGKILL, which works on a stopped one too."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self, **options: Any) -> redis.Redis:
        """Return a blocking client, with which tests read and change data."""
        return redis.Redis(port=self.port, socket_timeout=5, **options)


@functools.cache
def shared_server() -> RedisServer:
    """Return the one Redis of this test session; it is started with the first use."""
    folder = tempfile.TemporaryDirectory(prefix="latchkey-redis-")
    server = RedisServer(Path(folder.name))
    server.start()
    atexit.register(folder.cleanup)
    atexit.register(server.kill)  # runs first
    return server


def empty_redis() -> str:
    """Return the URL of the test session's Redis, emptied."""
    server = shared_server()
    with server.client() as client:
        client.flushall()
    return server.url


class Sentinel(RedisServer):
    """A Sentinel that watches one master under the name `main`."""

    def __init__(self, folder: Path, master: int) -> None:
        super().__init__(folder)
        self.url = f"redis+sentinel://127.0.0.1:{self.port}/main/0"
        folder.mkdir()
        (folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {master} 1\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 10000\n"
        )

    def arguments(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]
