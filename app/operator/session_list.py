"""All sessions of the site: select, find and count them."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from app.devices import Devices
from app.operator.rows import SessionRow
from app.sessions.authentication import of_record
from app.sessions.manager import Sessions
from app.stores import Record, pages_of, public_id

_PAGE = 500  # records
MIN_ID = 6  # characters of a public id that name a session


class SessionCounts(msgspec.Struct, kw_only=True):
    """How many sessions there are."""

    sessions: int = 0
    visitors: int = 0
    users: int = 0  # with a session


class Ambiguous(ValueError):
    """Several sessions have ids that begin so; the message is for the operator."""


class SessionList:
    """Reads sessions by scans of the store: a second for 100,000. Raises StoreUnavailable."""

    def __init__(self, sessions: Sessions[Any], devices: Devices) -> None:
        self._sessions = sessions
        self._devices = devices

    async def all(self, *, seen_before: float | None = None) -> AsyncIterator[list[Record]]:
        """Yield all living sessions in pages, or those that were last seen before a time."""
        lifetimes = self._sessions.lifetimes
        async for page in pages_of(self._sessions.store, _PAGE):
            yield [
                record
                for record in page
                if lifetimes.limit_reached(record) is None
                if seen_before is None or lifetimes.seen(record) < seen_before
            ]

    async def latest(
        self, limit: int, *, seen_before: float | None = None
    ) -> tuple[list[SessionRow], int]:
        """Return the sessions that were seen last, and how many there are in all."""
        latest: dict[str, Record] = {}
        ids: set[str] = set()
        async for page in self.all(seen_before=seen_before):
            ids.update(record.id for record in page)
            latest |= {record.id: record for record in page}
            best = heapq.nlargest(limit, latest.values(), key=self._sessions.lifetimes.seen)
            latest = {record.id: record for record in best}
        return await self.rows([*latest.values()]), len(ids)

    async def of_user(self, user_id: str, limit: int) -> list[SessionRow]:
        """Return the living sessions of a user, the last seen first."""
        records = await self._sessions.store.of_user(user_id, limit)
        return await self.rows(self._sessions.lifetimes.living(records))

    async def find(self, id: str) -> Record | None:
        """Return the session whose public id is or begins so; raises Ambiguous."""
        found: dict[str, Record] = {}
        if len(id) >= MIN_ID:
            async for page in self.all():
                found |= {each.id: each for each in page if public_id(each.id).startswith(id)}
        if len(found) > 1:
            raise Ambiguous(
                f"{len(found)} sessions have ids that begin with {id}; write more of it"
            )
        return next(iter(found.values()), None)

    async def counts(self) -> SessionCounts:
        """Count sessions and users."""
        ids: set[str] = set()
        users: set[str] = set()
        visitors = 0
        async for page in self.all():
            new = [record for record in page if record.id not in ids]
            ids.update(record.id for record in new)
            users.update(record.user_id for record in new if record.user_id is not None)
            visitors += sum(record.user_id is None for record in new)
        return SessionCounts(sessions=len(ids), visitors=visitors, users=len(users))

    async def rows(self, records: Sequence[Record]) -> list[SessionRow]:
        """Return these sessions as operators see them."""
        devices = await self._devices.of_records(records)
        return [SessionRow.of(each, devices[each.id], of_record(each)) for each in records]
