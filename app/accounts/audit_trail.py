"""The audit trail: events of accounts in the database, for questions about the past."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from app.accounts.audit_event import AuditEvent
from app.accounts.schema import audit_events
from app.common.background import Background
from app.database import Database, DatabaseUnavailable

log = logging.getLogger("latchkey.audit")

_MAX_WAITING = 10_000  # events that wait for the database
_BATCH = 500  # events in one transaction
_PAGE = 1000  # events that one query returns
_BATCH_INTERVAL = 0.1  # seconds in which events wait for each other
_RETRY_INTERVAL = 1.0  # seconds
_DAY = 86_400.0


class AuditTrail:
    """Stores events of accounts, and finds them.

    `add` never waits. A task writes the events in batches, so that no sign-in waits for it. While
    the database is away, a bounded number of events waits. Reading raises DatabaseUnavailable.
    """

    def __init__(self, database: Database, *, days: int) -> None:
        """`days` is how long events are kept; 0 keeps all."""
        self._database = database
        self._days = days
        self._waiting: list[AuditEvent] = []
        self._lost = 0  # events that were dropped since the last log line
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._stopping = False
        self._background = Background()
        self._task: asyncio.Task[None] | None = None

    # -- write --

    def add(self, event: AuditEvent) -> None:
        """Store an event soon."""
        if len(self._waiting) >= _MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append(event)
        self._dirty.set()

    async def flush(self) -> bool:
        """Store the waiting events; return False if the database is away."""
        async with self._writing:
            while self._waiting:
                if not await self._write(self._waiting[:_BATCH]):
                    return False
            self._log_lost(0)
            return True

    async def prune(self) -> int:
        """Delete the events that are older than --audit-days; return how many."""
        deleted = 0
        if self._days:
            before = time.time() - self._days * _DAY
            while count := await self._database.run(lambda connection: _prune(connection, before)):
                deleted += count
        return deleted

    # -- read --

    async def of(
        self, account_id: str, limit: int = 100, before: tuple[float, int] | None = None
    ) -> list[AuditEvent]:
        """Return the events of an account, the latest first; `before` is a `position`."""
        return await self.search(account_id=account_id, limit=limit, before=before)

    async def latest(self, account_id: str, limit: int) -> list[AuditEvent]:
        """Return up to `limit` events of an account, the latest first, read page by page."""
        found: list[AuditEvent] = []
        while len(found) < limit:
            before = found[-1].position if found else None
            page = await self.of(account_id, min(_PAGE, limit - len(found)), before)
            found += page
            if len(page) < _PAGE:
                break
        return found

    async def search(
        self,
        *,
        since: float = 0.0,
        until: float | None = None,
        events: Collection[str] = (),
        account_id: str = "",
        actor_id: str = "",
        limit: int = 100,
        before: tuple[float, int] | None = None,
    ) -> list[AuditEvent]:
        """Return the events from `since` until `until` (excluded), the latest first.

        Times are seconds since 1970. `events` are names; without any, all are returned. `before`
        is the `position` of an event: the last one of a page leads to the next page.
        """
        await self.flush()
        columns = audit_events.c
        query = sa.select(audit_events).where(columns.time >= since)
        if until is not None:
            query = query.where(columns.time < until)
        if events:
            query = query.where(columns.event.in_(events))
        if account_id:
            query = query.where(columns.account_id == account_id)
        if actor_id:
            query = query.where(columns.actor_id == actor_id)
        if before is not None:
            query = query.where(sa.tuple_(columns.time, columns.id) < before)
        query = query.order_by(columns.time.desc(), columns.id.desc()).limit(limit)
        return await self._database.read(
            lambda connection: [_to_event(row) for row in connection.execute(query)]
        )

    async def count(self, event: str, since: float) -> int:
        """Return how many events of a name there were since a time."""
        await self.flush()
        columns = audit_events.c
        query = sa.select(sa.func.count()).where(columns.time >= since, columns.event == event)
        return await self._database.read(lambda connection: connection.execute(query).scalar_one())

    # -- life --

    def start(self) -> None:
        """Write from now on, on the running loop."""
        self._task = self._background.start(self._run())

    async def stop(self, seconds: float = 1.0) -> None:
        """Store what waits, for some `seconds`; what is left is counted in the log."""
        self._stopping = True
        self._dirty.set()
        if self._task is None and self._waiting:
            self._task = self._background.start(self._run())
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=seconds)
        await self._background.stop()
        self._log_lost(len(self._waiting))
        self._waiting.clear()

    async def _run(self) -> None:
        while not self._stopping:
            await self._dirty.wait()
            if not self._stopping:
                await asyncio.sleep(_BATCH_INTERVAL)
            self._dirty.clear()
            if not await self.flush() and not self._stopping:
                await asyncio.sleep(_RETRY_INTERVAL)
                self._dirty.set()
        await self.flush()

    async def _write(self, batch: Sequence[AuditEvent]) -> bool:
        """Store a batch and take it out of the queue; return False if the database is away."""
        rows = [_to_row(event) for event in batch]
        try:
            await self._database.run(lambda connection: _insert(connection, rows))
        except DatabaseUnavailable:
            return False
        except Exception:
            log.exception("events cannot be stored in the audit trail")
            self._lost += len(batch)
        del self._waiting[: len(batch)]
        return True

    def _log_lost(self, more: int) -> None:
        lost, self._lost = self._lost + more, 0
        if lost:
            log.error("events are missing in the stored audit trail count=%d", lost)


def _insert(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(sa.insert(audit_events), rows)


def _prune(connection: sa.Connection, before: float) -> int:
    columns = audit_events.c
    old = sa.select(columns.id).where(columns.time < before).limit(_BATCH)
    return connection.execute(sa.delete(audit_events).where(columns.id.in_(old))).rowcount


def _to_row(event: AuditEvent) -> dict[str, Any]:
    return {
        "time": event.time,
        "event": _storable(event.event),
        "account_id": _storable(event.account_id),
        "user": _storable(event.user),
        "actor": _storable(event.actor) or None,
        "actor_id": _storable(event.actor_id) or None,
        "address": _storable(event.address),
        "method": _storable(event.method),
        "reason": _storable(event.reason),
    }


def _storable(text: str) -> str:
    """Replace what PostgreSQL or UTF-8 refuses, so that one event does not lose its batch."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _to_event(row: sa.Row[Any]) -> AuditEvent:
    return AuditEvent(
        time=row.time,
        event=row.event,
        account_id=row.account_id or "",
        user=row.user or "",
        actor=row.actor or "",
        actor_id=row.actor_id or "",
        address=row.address,
        method=row.method,
        reason=row.reason,
        id=row.id,
    )
