"""The contestants: the command of each server, and the programs that it requires."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
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
RECIPE = ("--expose-gc", str(HERE / "servers" / "recipe.js"))
NODE = ("node", *RECIPE)
BUN = ("{bun}", *RECIPE)  # Bun runs Node's file


@dataclass(frozen=True)
class Contestant:
    """A server by name.

    A run fills in `{data}`, `{redis}`, `{number}` and `{bun}` in its arguments. No two servers of
    a run have the same number.
    """

    name: str
    meaning: str
    argv: tuple[str, ...]
    processes: int = 1  # in the rows about several processes
    apart: bool = False  # whether each of these has a Redis of its own

    @property
    def needs_redis(self) -> bool:
        return any("{redis}" in argument for argument in self.argv)

    @property
    def needs_bun(self) -> bool:
        return "{bun}" in self.argv

    @property
    def needs_node(self) -> bool:
        return RECIPE[-1] in self.argv


def _latchkey(store: str, *limits: str) -> tuple[str, ...]:
    program = (PYTHON, "-m", "app", "--data-dir={data}", "--process-number={number}")
    return (*program, f"--store={store}", *limits)


_REDIS = (
    *_latchkey("{redis}", *NO_LIMITS),
    "--secret-keys=only-for-the-bench-0123456789abcdef",
)
LINEUP = {
    contestant.name: contestant
    for contestant in (
        Contestant("latchkey", "memory store, no limits", _latchkey("memory", *NO_LIMITS)),
        Contestant("latchkey-sqlite", "sqlite, no limits", _latchkey("sqlite", *NO_LIMITS)),
        Contestant(
            "latchkey-limits", "memory store, limits at their defaults", _latchkey("memory")
        ),
        Contestant("latchkey-redis", "Redis, no limits", _REDIS),
        Contestant("redis-1", "`latchkey-redis` with a Redis of its own", _REDIS),
        Contestant("redis-2", "two processes over one Redis", _REDIS, processes=2),
        Contestant("redis-4", "four processes over one Redis", _REDIS, processes=4),
        Contestant(
            "redis-4-apart", "four sites of one process each", _REDIS, processes=4, apart=True
        ),
        Contestant("node", "express-session and Socket.IO, MemoryStore", NODE),
        Contestant("node-redis", "the same with connect-redis", (*NODE, "--redis={redis}")),
        Contestant("bun", "the recipe of `node`, run by Bun", BUN),
        Contestant("bun-redis", "the same with connect-redis", (*BUN, "--redis={redis}")),
        Contestant(
            "stock", "python-socketio on Tornado", (PYTHON, "-m", "bench.servers.stock_tornado")
        ),
        Contestant("uvicorn", "python-socketio on uvicorn", (PYTHON, "-m", "bench.servers.asgi")),
    )
}


def install_recipe() -> None:
    """Fetch the recipe's npm packages into `node_modules`, once, as the lock file pins them.

    Processes that need them at the same time wait for the first one.
    """
    with (HERE / "package.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        _install_recipe()


def _install_recipe() -> None:
    lock, installed = HERE / "package-lock.json", HERE / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    if shutil.which("npm") is None:
        raise StartError("npm is not installed; the recipe needs Node 20 or later and npm.")
    command = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"npm could not install the recipe: {done.stderr.strip()[-300:]}")
    installed.touch()


def bun_program() -> Path:
    """Return the Bun that npm installed for this system.

    The package `bun` puts it in its place by an install script, and none is run here.
    """
    found = sorted((HERE / "node_modules" / "@oven").glob("bun-*/bin/bun"))
    if not found:
        raise StartError("npm has no Bun for this system.")
    return found[0]


class Servers:
    """The servers of one run: some stay warm for several rows, some serve one measurement."""

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
        """Return the server of that name that stays up until the end of the run.

        Its heartbeats are rare, because its clients answer none while others are measured.
        """
        if name not in self._warm:
            self._warm[name] = self._stack.enter_context(self.fresh(name, "--ping-interval=600"))
        return self._warm[name]

    @contextmanager
    def fresh(self, name: str, *more: str) -> Iterator[Server]:
        """Run a new server with an empty store until the end of the block."""
        with self._fresh(name, self.redis_port, *more) as server:
            yield server

    @contextmanager
    def site(self, name: str, *more: str) -> Iterator[tuple[list[Server], list[Server]]]:
        """Run the processes of a contestant over a new Redis; yield them, and each Redis."""
        contestant = LINEUP[name]
        with ExitStack() as stack:
            redises: list[Server] = []
            processes = []
            for _ in range(contestant.processes):
                if contestant.apart or not redises:
                    self._started += 1
                    log = self._directory / f"redis-{self._started}.log"
                    redises.append(self._start_redis(log))
                    stack.callback(redises[-1].stop)
                running = self._fresh(name, lambda: redises[-1].port, *more)
                processes.append(stack.enter_context(running))
            yield processes, redises

    @contextmanager
    def _fresh(self, name: str, redis_port: Callable[[], int], *more: str) -> Iterator[Server]:
        contestant = LINEUP[name]
        if contestant.needs_node:
            install_recipe()
        bun = bun_program() if contestant.needs_bun else ""
        redis = f"redis://127.0.0.1:{redis_port()}/0" if contestant.needs_redis else ""
        self._started += 1
        data = self._directory / f"{self._started}-{name}"
        given = {"data": data, "redis": redis, "number": self._started, "bun": bun}
        arguments = [word.format(**given) for word in contestant.argv]
        server = Server.start(
            lambda port: [*arguments, f"--port={port}", *more], data.with_suffix(".log")
        )
        try:
            yield server
        finally:
            server.stop()

    def redis_port(self) -> int:
        """Return the port of this run's own Redis, which saves nothing."""
        if self._redis is None:
            redis = self._start_redis(self._directory / "redis.log")
            self._stack.callback(redis.stop)
            self._redis = redis.port
        return self._redis

    def _start_redis(self, log: Path) -> Server:
        here = str(self._directory)
        command = ("redis-server", "--save", "", "--bind", "127.0.0.1", "--dir", here, "--port")
        return Server.start(lambda port: [*command, str(port)], log)
