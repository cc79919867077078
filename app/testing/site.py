"""An application that serves in the process of a test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import msgspec

import handlers
import handlers.session
from app.accounts import passwords
from app.application import Application, make_app
from app.module_list import listed
from app.services import Services
from app.sessions.clock import Clock
from app.settings import Settings
from app.stores import SessionStore
from app.stores.memory import MemoryStore
from app.testing.clock import MovableClock
from app.testing.visitor import Visitor

_HANDLERS = Path(handlers.__file__).resolve().parent
#: The folders of templates and of /static/, as `make_app` takes them.
PATHS = MappingProxyType(
    {"template_path": _HANDLERS / "templates", "static_path": _HANDLERS.parent / "static"}
)


class Site:
    """An application that serves on a free loopback port of this process."""

    def __init__(self, app: Application, url: str) -> None:
        self.app = app
        self.url = url
        self._visitors: list[Visitor] = []

    @property
    def services(self) -> Services:
        """The parts of the application, as handlers have them."""
        return self.app.services

    @property
    def clock(self) -> Clock:
        """The clock of sessions, a MovableClock unless `serve` got another one."""
        return self.services.sessions.clock

    def visitor(self, *, origin: str | None = None, **headers: str) -> Visitor:
        """Return another browser; it is closed with the site. Options as for `Visitor`."""
        visitor = Visitor(self.url, origin=origin, **headers)
        self._visitors.append(visitor)
        return visitor

    async def advance(self, seconds: float) -> None:
        """Move the clock, and end the sessions whose time is over.

        Sockets of an ended session are told on return; their `ended()` has the reason.
        """
        clock = self.clock
        if not isinstance(clock, MovableClock):
            raise TypeError("this site has a clock that does not move; leave out `clock`")
        clock.now += seconds
        await self.services.expiry.run_round()

    async def close_visitors(self) -> None:
        """Close the browsers that `visitor` has returned."""
        for visitor in self._visitors:
            await visitor.close()


@contextlib.asynccontextmanager
async def serve(
    *,
    modules: Sequence[str] | None = None,
    data_type: type[msgspec.Struct] | None = None,
    store: SessionStore | str | None = None,
    clock: Clock | None = None,
    data_dir: Path | None = None,
    cheap_hashes: bool = True,
    **settings: Any,
) -> AsyncIterator[Site]:
    """Serve an application on a free port; stop it, and close its visitors, at the end.

    Unless given, `modules` (dotted names) are those that `python -m app` serves, `data_type` is
    `handlers.session.SessionData`, `store` is a new MemoryStore, `clock` is a MovableClock and
    `data_dir` is a temporary folder. A string as `store` is a setting, such as "sqlite".
    `settings` are fields of `app.settings.Settings`. `cheap_hashes` makes passwords cost no time.
    """
    # handlers that still run at the end of a test are not worth waiting for
    settings.setdefault("drain_time", 0.0)
    opened: SessionStore | None = None
    if isinstance(store, str):
        settings["store"] = store
    else:
        opened = store if store is not None else MemoryStore()
    with contextlib.ExitStack() as stack:
        if data_dir is None:
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="latchkey-")))
        with _cheap_hashes() if cheap_hashes else contextlib.nullcontext():
            app = make_app(
                Settings(port=0, data_dir=data_dir, **settings),
                modules=listed(handlers) if modules is None else modules,
                data_type=data_type or handlers.session.SessionData,
                clock=clock or MovableClock(),
                store=opened,
                serves=True,
                **PATHS,
            )
        site = None
        try:
            site = Site(app, await app.start())
            yield site
        finally:
            if site is not None:
                await site.close_visitors()
            await app.stop()


def _cheap_hashes() -> contextlib.AbstractContextManager[Any]:
    """Build an application that hashes passwords at argon2's lowest cost."""
    return mock.patch.multiple(passwords, MEMORY_COST=8, TIME_COST=1)
