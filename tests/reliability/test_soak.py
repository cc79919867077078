"""Clients of all kinds come and go for long; nothing is left of them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.support.browsers import MODES
from tests.support.clock import Clock
from tests.support.raw import POLLING, Raw
from tests.support.remains import counts, served, settled
from tests.support.site import Site
from tests.support.socket_server import LOOPS
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.transport.test_churn import one_loop

SECONDS = 30.0  # of the short form
CLIENTS = 8
_GROWTH = 20  # objects of one class that may be more at the end, as those of pools
_CACHED = frozenset({"app.web.session_cookie.CookieId"})  # in a cache that is bounded
_LONGEST = 100_000.0  # seconds


@pytest.mark.limit(_LONGEST)
async def test_connected_clients_get_every_event_while_others_crash_for_long(
    tmp_path: Path, seconds: float
) -> None:
    """The long form of tests/transport/test_churn.py, under both loops."""
    folders = {loop: tmp_path / loop for loop in LOOPS}
    for folder in folders.values():
        folder.mkdir()
    await asyncio.gather(
        *(one_loop(loop, folder, seconds or SECONDS) for loop, folder in folders.items())
    )


@pytest.mark.limit(_LONGEST)
@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
async def test_every_table_is_empty_after_a_soak(
    tmp_path: Path, store: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables of connections, sessions, rooms and timers, the store, and objects of our classes."""
    monkeypatch.setattr("app.transport.engineio.polling.LAST_POLL_TIMEOUT", 0.5)
    clock = Clock()
    limits = {"failed_logins_per_minute": 0, "handshakes_per_minute": 0}
    async with served(tmp_path, store, clock=clock, **limits) as site:
        before = counts(site)
        await live(site, "first", rounds=5)  # what is made once is there then
        await empty(site, clock)
        await settled(site, before)
        objects = ours()
        end = asyncio.get_running_loop().time() + (seconds or SECONDS)
        names = [f"user{number}" for number in range(CLIENTS)]
        await asyncio.gather(*(live(site, name, until=end) for name in names))
        await empty(site, clock)
        await settled(site, before)
        assert grown(objects) == {}


async def empty(site: Site, clock: Clock) -> None:
    """Let all sessions end that are left, as those of visitors who went away."""
    clock.now += site.services.settings.session_max_age + 1

    async def swept() -> bool:
        await site.services.expiry.run_round()
        return bool(await site.services.sessions.store.stored() == 0)

    await until(swept, 60)


async def live(site: Site, name: str, *, rounds: int = 10**9, until: float = 1e18) -> None:
    """Do what users do, in a random order, with a browser that is new each time."""
    for number in itertools.count():
        if number >= rounds or asyncio.get_running_loop().time() > until:
            return
        async with Visitor(site.url) as visitor:
            if number == 0:
                await visitor.sign_up(name)
            elif random.random() < 0.5:
                await visitor.sign_in(name)
            await visit(site, visitor)


async def visit(site: Site, visitor: Visitor) -> None:
    """Open sockets, count, and leave in one of several ways."""
    socket = await visitor.socket(*MODES[random.choice(list(MODES))])
    await socket.call("incr")
    await visitor.incr()
    await visitor.get("/account")
    way = random.randrange(4)
    if way == 0:
        await visitor.post("/logout")
        await socket.ended()
    elif way == 1:
        await socket.close()
    elif way == 2:
        async with Raw(site.url) as raw:  # a handshake, and no more is heard of it
            await raw.ask(POLLING)
    # else the browser goes away with all that it has open


def ours() -> Counter[str]:
    """Return how many objects of each of our classes there are."""
    gc.collect()
    kinds = map(type, gc.get_objects())
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    return Counter(name for name in names if name.startswith("app."))


def grown(before: Counter[str]) -> dict[str, int]:
    """Return of which classes there are many more objects than before."""
    return {name: n for name, n in (ours() - before).items() if n > _GROWTH and name not in _CACHED}
