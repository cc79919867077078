"""The address of a Redis: its URL, TLS and Sentinels, all of which redis-py reads."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import SSLConnection, parse_url

from app.common.urls import without_credentials
from app.stores.redis.sentinels import Sentinels

_SENTINEL = "redis+sentinel"
_SENTINEL_PORT = 26379


class InvalidRedisUrl(ValueError):
    """A URL that names no Redis; the message says what to write instead."""


class Address:
    """One Redis, named by `redis://`, `rediss://` or `redis+sentinel://`."""

    def __init__(self, url: str) -> None:
        """Raises InvalidRedisUrl."""
        self._sentinels: Sentinels | None = None
        parts = urlsplit(url)
        self.shown = without_credentials(url)
        if parts.scheme == _SENTINEL:
            url = self._read_sentinel(parts.netloc, parts.path, parts.query)
        self._options = self._read(url)
        self.username: str = self._options.get("username") or "default"
        self.password: str | None = self._options.get("password")
        self.database = int(self._options.get("db") or 0)
        #: how many replicas have to confirm each change
        self.wait_replicas = self._read_wait_replicas()
        self._tls = self._make_tls()

    def _read_sentinel(self, hosts: str, path: str, query: str) -> str:
        """Prepare to ask the Sentinels; return a URL with everything but the primary's address."""
        login, at, hosts = hosts.rpartition("@")
        service, _, database = path.strip("/").partition("/")
        addresses = [
            re.fullmatch(r"(\[[^]]+\]|[^:]+)(?::([0-9]+))?", host) for host in hosts.split(",")
        ]
        if not service or not all(addresses) or not re.fullmatch(r"[0-9]*", database):
            raise InvalidRedisUrl(
                "--store: write redis+sentinel://[user:password@]host:port,host:port/service[/db]"
            )
        self._sentinels = Sentinels(
            unquote(service),
            [
                (found[1].strip("[]"), int(found[2] or _SENTINEL_PORT))
                for found in addresses
                if found
            ],
        )
        return f"redis://{login}{at}sentinel/{database}" + (f"?{query}" if query else "")

    def _read(self, url: str) -> dict[str, Any]:
        try:
            return dict(parse_url(url))
        except ValueError as error:
            raise InvalidRedisUrl(f"--store: {error}") from None

    def _read_wait_replicas(self) -> int:
        given = str(self._options.get("wait_replicas", "0"))
        if not re.fullmatch(r"[0-9]", given):
            raise InvalidRedisUrl("--store: wait_replicas is a number of replicas, from 0 to 9")
        return int(given)

    def _make_tls(self) -> Any:
        """Return the TLS context that the URL asks for, or None."""
        if self._options.get("connection_class") is not SSLConnection:
            return None
        options = {name: value for name, value in self._options.items() if name.startswith("ssl_")}
        connection: Any = SSLConnection(**options)
        return connection.ssl_context.get()

    async def connect(self, protocol: asyncio.Protocol) -> None:
        """Open a connection to the primary; raises OSError."""
        host, port = self._options.get("host") or "localhost", self._options.get("port") or 6379
        if self._sentinels is not None:
            host, port = await self._sentinels.primary()
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, host, port, ssl=self._tls
        )

    async def has_moved(self) -> bool:
        """Whether the Sentinels name another primary than the one of the latest connection."""
        return self._sentinels is not None and await self._sentinels.names_another()

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        if self._sentinels is not None:
            await self._sentinels.close()
