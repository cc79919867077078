"""The first commands on a connection, and the check that this Redis can hold sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from app.stores.errors import StoreUnavailable
from app.stores.redis.address import Address
from app.stores.redis.connection import Connection, pack

log = logging.getLogger("latchkey.redis")

_MIN_VERSION = (6, 2)


async def handshake(connection: Connection, address: Address, channels: Collection[bytes]) -> None:
    """Authenticate, select the database, check the server, and subscribe to these channels.

    Raises StoreUnavailable for a Redis that cannot hold sessions, and what `Connection.call`
    raises.
    """
    login = ("AUTH", address.username, address.password) if address.password else ()
    hello = connection.call(pack(("HELLO", "3", *login, "SETNAME", "latchkey")))
    select = connection.call(pack(("SELECT", address.database)))
    info = connection.call(pack(("INFO",)))
    results = await asyncio.gather(hello, select, info, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    facts = _parse_info(info.result())
    _check(facts, address.shown)
    _check_replicas(facts, address)
    if channels:
        connection.send_unanswered(pack(("SUBSCRIBE", *channels)))
        await connection.call(pack(("PING",)))


def _parse_info(info: bytes) -> dict[str, str]:
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _check(info: dict[str, str], shown: str) -> None:
    """Raise StoreUnavailable for a Redis that cannot hold sessions; warn if it may evict them."""
    version = info.get("redis_version", "0.0")
    if tuple(map(int, version.split(".")[:2])) < _MIN_VERSION:
        raise StoreUnavailable(f"it is Redis {version}; 6.2 or later, or Valkey, is needed")
    if info.get("cluster_enabled") == "1":
        raise StoreUnavailable(
            "it is a Redis Cluster, which spreads the keys; use one Redis, with Sentinels"
        )
    if info.get("loading") == "1":
        raise StoreUnavailable("it is loading its data")
    if info.get("role") == "slave":
        raise StoreUnavailable("it is a replica, which takes no writes; name its master")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and info.get("maxmemory") != "0":
        log.warning(
            "%s forgets sessions when its memory is full (maxmemory-policy %s); "
            "set it to noeviction",
            shown,
            policy,
        )


def _check_replicas(info: dict[str, str], address: Address) -> None:
    """Warn if there are fewer replicas than each change has to wait for."""
    replicas = int(info.get("connected_slaves", "0"))
    if replicas < address.wait_replicas:
        log.warning(
            "%s has %d replicas, and refuses changes until it has as many as wait_replicas=%d; "
            "start them",
            *(address.shown, replicas, address.wait_replicas),
        )
