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
from tests.support.redis_server import RedisServer, Sentinel
from tests.support.waiting import until

_DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
_READY = 60.0  # seconds


class Site:
    """Everything that runs, and what a fault does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.redis = [RedisServer(folder / name, *_DURABLE) for name in ("redis", "replica")]
        self.postgres: Postgres
        self.sentinel: Sentinel
        self.nginx: Nginx
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
        self.postgres = Postgres()
        self._stack.callback(self.postgres.remove)
        await self._start_redis()
        ports = [free_port(), free_port()]
        for number, port in enumerate(ports):
            program = Program(self.folder / str(number), number, port, self._environ())
            self.programs.append(program)
            self._stack.push_async_callback(program.stop)
            await program.start(ROOT)
        await self.ready()
        self.nginx = Nginx(ports)
        self._stack.callback(self.nginx.stop)
        self.nginx.start()

    async def _start_redis(self) -> None:
        master, replica = self.redis
        for server in self.redis:
            server.start()
            self._stack.callback(server.kill)
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(master.port))
            await until(lambda: client.info("replication")["master_link_status"] == "up", _READY)
        self.sentinel = Sentinel(self.folder / "sentinel", master.port)
        self.sentinel.start()
        self._stack.callback(self.sentinel.kill)
        with self.sentinel.client() as client:
            await until(lambda: client.sentinel_slaves("main"), _READY)

    def _environ(self) -> dict[str, str]:
        """Return the settings, as /etc/latchkey.env has them."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        return {
            **outside,
            "LATCHKEY_STORE": self.sentinel.url,
            "LATCHKEY_DATABASE": self.postgres.url(self.postgres.database()),
            "LATCHKEY_SECRET_KEYS": "a key of this night, which ends with it",
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.1",
            "LATCHKEY_HANDSHAKES_PER_MINUTE": "0",  # all clients have one address
        }

    async def ready(self) -> None:
        """Wait until all processes can serve."""
        for program in self.programs:
            await until(program.is_ready, _READY)

    def logged(self) -> str:
        """Return the logs of all processes."""
        return "".join(program.log.read_text() for program in self.programs)
