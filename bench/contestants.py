"""Who is measured: how each server is started, and what it needs to be here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.process import Server, StartError

HERE = Path(__file__).resolve().parent
LIMITS = (
    "max-connections-per-session",
    "events-per-second",
    "handshakes-per-minute",
    "failed-logins-per-minute",
)
NO_LIMITS = tuple(f"--{limit}=0" for limit in LIMITS)
PYTHON = sys.executable
NODE = ("node", "--expose-gc", str(HERE / "servers" / "recipe.js"))


@dataclass(frozen=True)
class Contestant:
    """A server by name; in its arguments `{data}`, `{redis}` and `{number}` are filled in by a run.

    No two servers of a run have the same number.
    """

    name: str
    meaning: str
    argv: tuple[str, ...]

    @property
    def needs_redis(self) -> bool:
        return any("{redis}" in argument for argument in self.argv)

    @property
    def needs_node(self) -> bool:
        return self.argv[0] == "node"


def _latchkey(store: str, *limits: str) -> tuple[str, ...]:
    program = (PYTHON, "-m", "app", "--data-dir={data}", "--process-number={number}")
    return (*program, f"--store={store}", *limits)


LINEUP = {
    contestant.name: contestant
    for contestant in (
        Contestant("latchkey", "memory store, no limits", _latchkey("memory", *NO_LIMITS)),
        Contestant("latchkey-sqlite", "sqlite, no limits", _latchkey("sqlite", *NO_LIMITS)),
        Contestant(
            "latchkey-limits", "memory store, limits at their defaults", _latchkey("memory")
        ),
        Contestant(
            "latchkey-redis",
            "Redis, no limits",
            (
                *_latchkey("{redis}", *NO_LIMITS),
                "--secret-keys=only-for-the-bench-0123456789abcdef",
            ),
        ),
        Contestant("node", "express-session and Socket.IO, MemoryStore", NODE),
        Contestant("node-redis", "the same with connect-redis", (*NODE, "--redis={redis}")),
        Contestant(
            "stock", "python-socketio on Tornado", (PYTHON, "-m", "bench.servers.stock_tornado")
        ),
        Contestant("uvicorn", "python-socketio on uvicorn", (PYTHON, "-m", "bench.servers.asgi")),
    )
}


def install_recipe() -> None:
    """Fetch the recipe's npm packages into `node_modules`, once, as the lock file pins them."""
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    if shutil.which("npm") is None:
        raise StartError("npm is not installed; the Node recipe needs Node 20 or later and npm.")
    command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"npm could not install the Node recipe: {done.stderr.strip()[-300:]}")
    installed.touch()


class Servers:
    """The servers of one run: some kept warm for several rows, some fresh for one measurement."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._warm: dict[str, Server] = {}
        self._redis: int | None = None
        self._started = 0

    def __enter__(self) -> Servers:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def warm(self, name: str) -> Server:
        """The server of that name which lives until the end of the run.

        Its heartbeats are rare: clients answer none while it is the turn of others.
        """
        if name not in self._warm:
            self._warm[name] = self._stack.enter_context(self.fresh(name, "--ping-interval=600"))
        return self._warm[name]

    @contextmanager
    def fresh(self, name: str, *more: str) -> Iterator[Server]:
        """A new server with an empty store, stopped at the end of the block."""
        contestant = LINEUP[name]
        if contestant.needs_node:
            install_recipe()
        redis = f"redis://127.0.0.1:{self.redis_port()}/0" if contestant.needs_redis else ""
        self._started += 1
        data = self._directory / f"{self._started}-{name}"
        given = {"data": data, "redis": redis, "number": self._started}
        arguments = [word.format(**given) for word in contestant.argv]
        server = Server.start(
            lambda port: [*arguments, f"--port={port}", *more], data.with_suffix(".log")
        )
        try:
            yield server
        finally:
            server.stop()

    def redis_port(self) -> int:
        """The port of a Redis of this run's own, which keeps nothing."""
        if self._redis is None:
            here = str(self._directory)
            command = ("redis-server", "--save", "", "--bind", "127.0.0.1", "--dir", here, "--port")
            log = self._directory / "redis.log"
            redis = Server.start(lambda port: [*command, str(port)], log)
            self._stack.callback(redis.stop)
            self._redis = redis.port
        return self._redis
