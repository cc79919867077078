"""A failover of a replicated Redis under two processes and their clients."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from app.stores import StoreUnavailable
from app.stores.redis import RedisStore
from tests.support.browsers import PythonVisitor, ended
from tests.support.sentinel import ReplicatedRedis
from tests.support.site import Site
from tests.support.sites import sites, tabs_at
from tests.support.stores import record
from tests.support.waiting import until

WAIT = "?wait_replicas=1"


def port_of(site: Site) -> int:
    """Return the port of the Redis that a process is connected to, 0 while it is to none."""
    assert site.app.cluster is not None
    connection = site.app.cluster.client._connection
    transport = None if connection is None else connection._transport
    return 0 if transport is None else int(transport.get_extra_info("peername")[1])


async def count_on(visitor: PythonVisitor, tab: Any, acked: int) -> int:
    """Raise the counter until it works again; return the count."""
    found: list[int] = []

    async def works() -> bool:
        ack = await tab.call("incr")
        if isinstance(ack, int):
            found.append(ack)
        return bool(found)

    await until(works, 40)
    # a change that nobody could acknowledge may have been stored
    assert found[0] > acked, "an acknowledged change was lost"
    return found[0]


async def fail_over(tmp_path: Path, redis: ReplicatedRedis, number: signal.Signals) -> None:
    """Let the primary die or freeze under two processes, and come back."""
    async with (
        sites(tmp_path / "data", url=redis.url + WAIT) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        tabs = await tabs_at(visitor, one, two)
        cookie = visitor.cookie
        acked = [await tab.call("incr") for tab in tabs for _ in range(20)]
        old = redis.nodes[0]
        old.send(number)
        count = await count_on(visitor, tabs[0], max(acked))
        assert await count_on(visitor, tabs[1], count) > count
        new = await redis.failed_over(old)
        if number == signal.SIGKILL:
            old.kill()
            redis.restart(old)
        else:
            old.send(signal.SIGCONT)
        with old.client() as asked:
            await until(lambda: asked.info("replication")["role"] == "slave", 30)
        count = await count_on(visitor, tabs[0], count + 1)
        assert await count_on(visitor, tabs[1], count) == count + 1
        assert {port_of(one), port_of(two)} == {new.port}
        assert [ended(tab) for tab in tabs] == [[], []]
        assert visitor.cookie == cookie


async def saves(store: RedisStore, name: str) -> bool:
    """Whether the Redis takes a change now."""
    try:
        await store.save(record(name))
    except StoreUnavailable:
        return False
    return True


async def reads(store: RedisStore) -> bool:
    """Whether the Redis has the session `a`."""
    try:
        return await store.load("a") is not None
    except StoreUnavailable:
        return False
