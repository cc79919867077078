"""Several processes over one Redis, all of them in this one, and a browser with tabs at each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from app.stores.redis import RedisStore, open_store
from tests.support.browsers import joined
from tests.support.redis_server import empty_redis
from tests.support.site import Site, serve
from tests.support.waiting import until

KEYS = ("only-for-tests-0123456789",)


@contextlib.asynccontextmanager
async def sites(
    tmp_path: Path, how_many: int = 2, *, url: str = "", **options: Any
) -> AsyncIterator[list[Site]]:
    """Serve as many applications over one Redis as if each were in a process of its own."""
    options.setdefault("clock", None)
    async with contextlib.AsyncExitStack() as stack:
        url = url or empty_redis()
        yield [
            await stack.enter_async_context(
                serve(
                    tmp_path / str(number),
                    store=url,
                    secret_keys=KEYS,
                    **{"process_number": number, **options},
                )
            )
            for number in range(how_many)
        ]


async def tabs_at(visitor: Any, *places: Site, mode: str = "websocket") -> list[Any]:
    """Open a tab of one browser at each of these sites."""
    tabs = []
    for site in places:
        visitor.url = site.url
        tabs.append(await joined(visitor, mode))
    return tabs


async def waits_for_lock(store: RedisStore) -> None:
    """Return once this process has been refused a lock, and has reserved the next turn."""
    await until(lambda: bool(store._locks._locks._turns))


@contextlib.asynccontextmanager
async def processes(how_many: int = 2, url: str = "") -> AsyncIterator[list[RedisStore]]:
    """Open as many stores over one Redis as if each were in a process of its own."""
    url = url or empty_redis()
    stores = [open_store(url) for _ in range(how_many)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()
