"""Traces: an optional part, since it needs packages of OpenTelemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from tornado.web import RequestHandler

from app import lifecycle
from app.settings import Settings
from app.stores import SessionStore

_Work = Coroutine[Any, Any, None]


class Tracing(lifecycle.Tracing, Protocol):
    """Makes spans of pages, events and calls of stores."""

    def page(self, handler: RequestHandler, route: str, work: _Work, /) -> _Work:
        """Return the work on a request, in a span."""
        ...

    def event(self, namespace: Any, sid: str, event: str, work: _Work, /) -> _Work:
        """Return the work on an event, in a span."""
        ...

    def traced(self, store: SessionStore, /) -> SessionStore:
        """Return a store whose calls are spans."""
        ...

    def database_call(self, pool: str, future: asyncio.Future[Any], /) -> None:
        """Let a span last as long as a call of the database."""


def open_tracing(settings: Settings) -> Tracing | None:
    """Return the tracing of --tracing, or None; raises ValueError if a package is missing."""
    if not settings.tracing:
        return None
    check_packages()
    from app.tracing.traces import Traces

    return Traces(
        settings.tracing,
        store=settings.store_kind,
        database=settings.database_kind,
        process=settings.process_number,
    )


def check_packages() -> None:
    """Raise ValueError with the remedy if a package of the extra is missing."""
    try:
        import app.tracing.traces  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--tracing needs the package {error.name}; run pip install -e '.[tracing]'"
        ) from None
