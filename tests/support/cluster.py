"""Two processes behind a real proxy, on one Redis and one PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.process import Process, process
from tests.support.proxy import Proxy
from tests.support.raw import POLLING, Raw
from tests.support.redis_server import empty_redis
from tests.support.visitor import Visitor

SECRET = "a key that both processes have"


class Cluster:
    """Two processes and the proxy before them."""

    def __init__(
        self,
        folder: Path,
        database: str,
        flags: tuple[str, ...],
        *,
        proxy: type[Proxy] = Nginx,
        store: str = "",
    ) -> None:
        """`store` is the URL of another Redis than that of the test session."""
        self.ports = [free_port(), free_port()]
        self.proxy = proxy(self.ports)
        self.url, self.trust = self.proxy.url, self.proxy.trust
        self._folder, self._flags = folder, flags
        self._environ: dict[str, Any] = {
            "LATCHKEY_STORE": store or empty_redis(),
            "LATCHKEY_DATABASE": database,
            "LATCHKEY_SECRET_KEYS": SECRET,
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.1",
        }
        self._stack = contextlib.AsyncExitStack()
        self.processes: list[Process] = []

    async def __aenter__(self) -> Cluster:
        self._stack.callback(self.proxy.stop)
        try:
            self.processes = [await self.begin(number) for number in range(len(self.ports))]
            self.proxy.start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def begin(self, number: int) -> Process:
        """Start one process, for the first time or again."""
        flags = (f"--port={self.ports[number]}", f"--process-number={number}", *self._flags)
        folder = self._folder / str(number)
        return await self._stack.enter_async_context(process(folder, *flags, **self._environ))

    async def restart(self, number: int) -> None:
        """Drain one process and start it again, as `systemctl restart` does."""
        assert await self.processes[number].stop() == 0
        self.processes[number] = await self.begin(number)

    def raw(self, source: str | None = None) -> Raw:
        return Raw(self.url, trust=self.trust, source=source)

    def visitor(self) -> TlsVisitor:
        return TlsVisitor(self)

    async def open_sid(self, raw: Raw) -> tuple[str, str]:
        """Make a polling connection; return its id and its cookie."""
        opened = await raw.ask(POLLING)
        assert opened.status == 200, opened.body
        return opened.body.partition('"sid":"')[2].partition('"')[0], opened.cookie


class TlsVisitor(Visitor):
    """A browser that trusts the certificate of the tests' proxy."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.url)
        self._trust = cluster.trust

    async def __aenter__(self) -> TlsVisitor:
        await self.http.close()
        connector = aiohttp.TCPConnector(ssl=self._trust)
        self.http = aiohttp.ClientSession(cookie_jar=self.jar, connector=connector)
        return self


@contextlib.asynccontextmanager
async def two(
    tmp_path: Path,
    postgres: Postgres,
    *flags: str,
    proxy: type[Proxy] = Nginx,
    store: str = "",
) -> AsyncIterator[Cluster]:
    """Two processes behind nginx, or another proxy."""
    with postgres.lent() as name:
        database = postgres.url(name)
        async with Cluster(tmp_path, database, flags, proxy=proxy, store=store) as cluster:
            yield cluster
