"""The application of the tests, in this process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from app import testing
from app.sessions.clock import SteadyClock
from app.stores import SessionStore
from app.testing.site import PATHS
from tests.support import made_tables
from tests.support.demo import MODULES
from tests.support.demo.session import SessionData

__all__ = ["PATHS", "Site", "serve"]


class Site(testing.Site):
    """A site of the test kit whose parts tests look into."""

    # Any: the application knows its parts by small protocols
    app: Any

    @property
    def services(self) -> Any:
        return self.app.services


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
    """Serve the demo, or these modules, on a real clock unless given another.

    The rest is that of `app.testing.serve`.
    """
    data_dir = tmp_path / "data"
    if settings.get("database", "sqlite") == "sqlite":
        made_tables.put(data_dir)
    async with testing.serve(
        store=store,
        clock=clock or SteadyClock(),
        modules=modules,
        data_type=data_type,
        data_dir=data_dir,
        cheap_hashes=False,  # conftest.py decides
        **settings,
    ) as site:
        yield Site(site.app, site.url)
