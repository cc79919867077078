"""An application that serves in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from app.application import Application, make_app
from app.settings import Settings
from app.stores import SessionStore
from app.stores.memory import MemoryStore
from tests.support.demo import MODULES
from tests.support.demo.session import SessionData
from tests.support.paths import ROOT

PATHS = {"template_path": ROOT / "handlers" / "templates", "static_path": ROOT / "static"}


class Site:
    """An application that serves on a free loopback port of this process."""

    def __init__(self, app: Application, url: str) -> None:
        # Any: tests look inside of parts that the application knows by small protocols
        self.app: Any = app
        self.services: Any = app.services
        self.url = url


@contextlib.asynccontextmanager
async def serve(
    tmp_path: Path,
    *,
    store: SessionStore | str | None = None,
    clock: Any = None,
    modules: tuple[str, ...] = MODULES,
    data_type: type[msgspec.Struct] = SessionData,
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve an application with these settings on a free port; stop it at the end.

    `store` is a MemoryStore unless given; a string is a setting, such as "sqlite".
    """
    options: dict[str, Any] = {**PATHS, "modules": modules, "data_type": data_type}
    if clock is not None:
        options["clock"] = clock
    if isinstance(store, str):
        settings["store"] = store
    else:
        options["store"] = store if store is not None else MemoryStore()
    # handlers that still run at the end of a test are not worth waiting for
    settings.setdefault("drain_time", 0.0)
    app = make_app(Settings(port=0, data_dir=tmp_path / "data", **settings), **options)
    url = await app.start()
    try:
        yield Site(app, url)
    finally:
        await app.stop()
