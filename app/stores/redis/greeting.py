"""What is said on a new connection to a Redis, and whether it is one that can keep sessions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from app.stores.errors import StoreUnavailable
from app.stores.redis import scripts
from app.stores.redis.address import Address
from app.stores.redis.wire import Wire, pack

log = logging.getLogger("latchkey.redis")

_OLDEST = (6, 2)


async def greet(wire: Wire, address: Address, channels: Collection[bytes]) -> None:
    """Say who we are, see whom we have, teach it our scripts, and listen to these channels.

    Raises StoreUnavailable for a Redis that is of no use, and what `Wire.call` raises.
    """
    login = ("AUTH", address.username, address.password) if address.password else ()
    hello = wire.call(pack(("HELLO", "3", *login, "SETNAME", "latchkey")))
    select = wire.call(pack(("SELECT", address.database)))
    info = wire.call(pack(("INFO",)))
    taught = [wire.call(script.load()) for script in scripts.ALL]
    results = await asyncio.gather(hello, select, info, *taught, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    _check(_facts(info.result()), address.shown)
    if channels:
        wire.write(pack(("SUBSCRIBE", *channels)))
        await wire.call(pack(("PING",)))


def _facts(info: bytes) -> dict[str, str]:
    """Read what INFO says."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _check(facts: dict[str, str], shown: str) -> None:
    """Raise StoreUnavailable for a Redis that cannot keep sessions; warn of one that may not."""
    version = facts.get("redis_version", "0.0")
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise StoreUnavailable(f"it is Redis {version}; 6.2 or later, or Valkey, is needed")
    if facts.get("cluster_enabled") == "1":
        raise StoreUnavailable(
            "it is a Redis Cluster, which spreads the keys; use one Redis, with Sentinels"
        )
    if facts.get("loading") == "1":
        raise StoreUnavailable("it is loading its data")
    if facts.get("role") == "slave":
        raise StoreUnavailable("it is a replica, which takes no writes; name its master")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction" and facts.get("maxmemory") != "0":
        log.warning(
            "%s forgets sessions when its memory is full (maxmemory-policy %s); "
            "set it to noeviction",
            shown,
            policy,
        )
