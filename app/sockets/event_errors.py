"""Events that fail: what is logged and counted, and what the client is told."""

from __future__ import annotations

import logging

from app.common.log_context import span
from app.database import DatabaseUnavailable
from app.services import Services
from app.sessions.session import SessionEnded
from app.sockets.event_data_checks import InvalidArguments, InvalidResult
from app.sockets.handler_method import EventHandler
from app.sockets.role_checks import MissingRole
from app.stores import StoreError

log = logging.getLogger("latchkey.sockets")

Ack = dict[str, str]  # {"error": sentence}

_NO_STORE = "the session store does not answer; try again"


class EventErrors:
    """The errors of one namespace; the methods return the ack of the event."""

    def __init__(self, services: Services, namespace: str) -> None:
        self._services = services
        self._namespace = namespace

    def count(self, kind: str) -> None:
        """Count an event that failed."""
        self._services.counters.event_errors[kind] += 1

    def refuse(self, event: str, handler: EventHandler | None, count: int) -> Ack:
        """Refuse an event without a handler, or with another number of arguments than it takes."""
        if handler is None:
            self.count("unknown")
            self._blame_client(f"unknown event {event[:100]!r}")
            return {"error": "unknown event"}
        self.count("arguments")
        self._blame_client(f"event {event[:100]!r} came with {count} arguments")
        return {"error": f"{event} does not take {count} arguments"}

    def refuse_client(self, error: StoreError | DatabaseUnavailable) -> str:
        """Log the outage that a connect handler met; return the sentence for the client."""
        self._services.outage_log.add(self._namespace, f"CONNECT: {error}")
        return _NO_STORE if isinstance(error, StoreError) else str(error)

    async def report(self, session_id: str, event: str, error: Exception) -> Ack:
        """Act on an exception of a handler; `session_id` is that of the client."""
        if isinstance(error, SessionEnded):
            try:
                return await self._report_ended(session_id, event, error)
            except StoreError as outage:
                error = outage
        if isinstance(error, MissingRole):
            self.count("forbidden")
            self._blame_client(f"event {event[:100]!r}: {error}")
            return {"error": str(error)}
        if isinstance(error, StoreError):
            self._blame_server("store")
            self._services.outage_log.add(self._namespace, f"event {event[:100]!r}: {error}")
            return {"error": _NO_STORE}
        if isinstance(error, DatabaseUnavailable):
            self._blame_server("database")
            self._services.outage_log.add(self._namespace, f"event {event[:100]!r}: {error}")
            return {"error": str(error)}
        if isinstance(error, InvalidArguments):
            self.count("arguments")
            self._blame_client(f"event {event[:100]!r}: {error}")
            return {"error": str(error)}
        self._blame_server("internal")
        if isinstance(error, InvalidResult):
            log.error("the result of event %r is invalid: %s", event[:100], error)
            return {"error": str(error)}
        log.error("event %r failed", event[:100], exc_info=error)
        return {"error": "internal error"}

    async def _report_ended(self, session_id: str, event: str, error: SessionEnded) -> Ack:
        """Close the sockets of the ended session, which may be another client's."""
        ended = error.session_id or session_id
        await self._services.sessions.announce_missing(ended)
        if ended == session_id:
            self.count("ended")
            return {"error": "the session has ended"}
        self._blame_server("internal")
        log.error("event %r failed: the session of another client has ended", event[:100])
        return {"error": "internal error"}

    def _blame_server(self, kind: str) -> None:
        self.count(kind)
        here = span.get()
        if here is not None:
            here.fail(kind)

    def _blame_client(self, why: str) -> None:
        self._services.client_log.add(self._namespace, why)
