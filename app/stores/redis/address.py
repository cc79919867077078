"""The address of a Redis: its URL, TLS and Sentinels, all of which redis-py reads."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.common.urls import without_credentials
from app.stores.errors import StoreUnavailable

_SENTINEL = "redis+sentinel"
_SENTINEL_TIMEOUT = 0.5  # seconds until the next Sentinel is asked


class InvalidRedisUrl(ValueError):
    """A URL that names no Redis; the message says what to write instead."""


class Address:
    """One Redis, named by `redis://`, `rediss://` or `redis+sentinel://`."""

    def __init__(self, url: str) -> None:
        """Raises InvalidRedisUrl."""
        self._sentinels: Any = None
        self._service = ""
        parts = urlsplit(url)
        self.shown = without_credentials(url)
        if parts.scheme == _SENTINEL:
            url = self._read_sentinel(parts.netloc, parts.path, parts.query)
        self._options = self._read(url)
        self.username: str = self._options.get("username") or "default"
        self.password: str | None = self._options.get("password")
        self.database = int(self._options.get("db") or 0)
        self._tls = self._make_tls()

    def _read_sentinel(self, hosts: str, path: str, query: str) -> str:
        """Prepare to ask the Sentinels; return a URL with everything but the master's address."""
        login, at, hosts = hosts.rpartition("@")
        service, _, database = path.strip("/").partition("/")
        addresses = [
            re.fullmatch(r"(\[[^]]+\]|[^:]+)(?::([0-9]+))?", host) for host in hosts.split(",")
        ]
        if not service or not all(addresses) or not re.fullmatch(r"[0-9]*", database):
            raise InvalidRedisUrl(
                "--store: write redis+sentinel://[user:password@]host:port,host:port/service[/db]"
            )
        self._service = unquote(service)
        make: Any = Sentinel  # redis-py has no types for it
        retry = Retry(NoBackoff(), 0)
        self._sentinels = make(
            [(found[1].strip("[]"), int(found[2] or 26379)) for found in addresses if found],
            sentinel_kwargs={
                "socket_timeout": _SENTINEL_TIMEOUT,
                "socket_connect_timeout": _SENTINEL_TIMEOUT,
                "retry": retry,
            },
        )
        return f"redis://{login}{at}sentinel/{database}" + (f"?{query}" if query else "")

    def _read(self, url: str) -> dict[str, Any]:
        try:
            return dict(parse_url(url))
        except ValueError as error:
            raise InvalidRedisUrl(f"--store: {error}") from None

    def _make_tls(self) -> Any:
        """Return the TLS context that the URL asks for, or None."""
        if self._options.get("connection_class") is not SSLConnection:
            return None
        options = {name: value for name, value in self._options.items() if name.startswith("ssl_")}
        connection: Any = SSLConnection(**options)
        return connection.ssl_context.get()

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection to the master; raises StoreUnavailable or OSError."""
        host, port = self._options.get("host") or "localhost", self._options.get("port") or 6379
        if self._sentinels is not None:
            host, port = await self._master()
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, host, port, ssl=self._tls
        )

    async def _master(self) -> tuple[str, int]:
        try:
            host, port = await self._sentinels.discover_master(self._service)
        except RedisError as error:
            raise StoreUnavailable(
                f"no Sentinel names a master of {self._service}: {error}"
            ) from None
        return str(host), int(port)

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        if self._sentinels is not None:
            for sentinel in self._sentinels.sentinels:
                await sentinel.aclose()
