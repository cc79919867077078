"""What is left of connections and sessions in an application of this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.site import Site, serve
from tests.support.sites import sites


def tasks() -> list[asyncio.Task[Any]]:
    """Return the tasks that run code of the application."""
    found = []
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        code = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
        if code is not None and code.co_filename.startswith(str(ROOT / "app")):
            found.append(task)
    return found


def timers() -> list[asyncio.TimerHandle]:
    """Return the timers that will call the application."""
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return [
        timer
        for timer in scheduled
        if not timer.cancelled() and getattr(timer._callback, "__module__", "").startswith("app.")
    ]


def counts(site: Site) -> dict[str, int]:
    """Return how much there is of what connections and sessions have."""
    services = site.services
    engine = services.socket_server.engine
    # one for the deadlines of all connections, one for those of all requests
    alarms = [timer for timer in timers() if "Alarm" in repr(timer)]
    return {
        "tasks": len(tasks()),
        "timers": len(timers()) - len(alarms),
        "timers of connections": sum(map(len, engine.wheel._slots.values())),
        "watched users": len(services.device_watchers._watches),
        "watched sessions": len(services.device_watchers._users),
        "connections": len(services.connections),
        "sessions": len(services.connections.session_ids()),
    }


async def settled(site: Site, before: dict[str, int]) -> None:
    """Wait until there is no more of anything than before."""
    deadline = asyncio.get_running_loop().time() + 15
    while (now := counts(site)) != before and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.02)
    assert now == before, (tasks(), timers())


@contextlib.asynccontextmanager
async def served(tmp_path: Path, store: str, **options: Any) -> AsyncIterator[Site]:
    """Serve the demo with this store."""
    if store == "redis":
        async with sites(tmp_path, 1, **options) as (site,):
            yield site
    else:
        async with serve(tmp_path, store=store, **options) as site:
            yield site
