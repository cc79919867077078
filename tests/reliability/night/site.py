"""The site of a night: two processes behind nginx, Redis with Sentinel, and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from app.settings import PREFIX
from tests.reliability.night.program import Program
from tests.support.nginx import Nginx
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.process import run
from tests.support.sentinel import REPLICATED, ReplicatedRedis
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import until

_READY = 60.0  # seconds
_DISK = 400  # megabytes


class Site:
    """Everything that runs, and what a fault does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = ReplicatedRedis(folder, *REPLICATED, "--maxmemory-policy", "noeviction")
        # the first machine: a process, the first Redis and PostgreSQL are on its disk
        self.redis.nodes[0].folder = folder / "disk" / "redis0"
        self.disk: SmallDisk
        self.postgres: Postgres
        self.nginx: Nginx
        self.environ: dict[str, str]  # the settings of all processes
        self.programs: list[Program] = []
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Site:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.disk = self._stack.enter_context(small_disk(self.folder / "disk", _DISK))
        self.postgres = Postgres(self.disk.folder)
        self._stack.callback(self.postgres.remove)
        self._stack.callback(self.redis.stop)
        await self.redis.start()
        ports = [free_port(), free_port()]
        folders = [self.disk.folder / "process0", self.folder / "process1"]
        self.environ = self._environ()
        for number, port in enumerate(ports):
            program = Program(folders[number], number, port, self.environ)
            self.programs.append(program)
            self._stack.push_async_callback(program.stop)
            await program.start(ROOT)
        await self.ready()
        self.nginx = Nginx(ports)
        self._stack.callback(self.nginx.stop)
        self.nginx.start()

    def _environ(self) -> dict[str, str]:
        """Return the settings, as /etc/latchkey.env has them."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return {
            **outside,
            "LATCHKEY_STORE": self.redis.url,
            "LATCHKEY_DATABASE": self.postgres.url(self.postgres.database()),
            "LATCHKEY_SECRET_KEY_FILE": str(self.folder / "secret_keys"),
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.1",
            "LATCHKEY_HANDSHAKES_PER_MINUTE": "0",  # all clients have one address
        }

    async def ready(self) -> None:
        """Wait until all processes can serve."""
        for program in self.programs:
            await until(program.is_ready, _READY)

    async def command(self, *arguments: str) -> str:
        """Run a command of the program with the settings of the site; return what it prints."""
        outcome, out, error = await run(*arguments, **self.environ)
        assert outcome == 0, out + error
        return out

    def logged(self) -> str:
        """Return the logs of all processes."""
        return "".join(program.log.read_text() for program in self.programs)
