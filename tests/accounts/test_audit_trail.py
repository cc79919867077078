"""The audit trail: events of accounts in the database."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.accounts import AuditEvent, AuditTrail, audit_trail
from app.accounts import open_database as open_accounts
from app.database import DatabaseUnavailable
from tests.support.forms import PASSWORD, send
from tests.support.postgres import Place
from tests.support.site import Site
from tests.support.visitor import Visitor
from tests.support.waiting import until


def event(number: int, **values: Any) -> AuditEvent:
    """Return an event at a time of its own."""
    defaults = {"time": 1000.0 + number, "event": "sign-in", "account_id": "u:1", "user": "ann"}
    return AuditEvent(**{**defaults, **values})


@contextlib.asynccontextmanager
async def opened(place: Place, days: int = 0) -> AsyncIterator[AuditTrail]:
    """Open the trail of this place and close it at the end."""
    database = open_accounts(place.settings)
    trail = AuditTrail(database, days=days)
    trail.start()
    try:
        yield trail
    finally:
        await trail.stop()
        await database.close()


@pytest.mark.limit(60)
async def test_events_are_kept_and_found(place: Place) -> None:
    """By account, actor, name and time; the latest first, page by page; also after a restart."""
    async with opened(place) as trail:
        for number in range(5):
            trail.add(event(number))
        trail.add(event(5, event="disable", actor="Boss", actor_id="u:boss", reason="a\0\ud800"))
        trail.add(event(6, account_id="u:2", user="bob"))
    async with opened(place) as trail:
        found = await trail.of("u:1", 4)
        assert [each.time for each in found] == [1005.0, 1004.0, 1003.0, 1002.0]
        rest = await trail.of("u:1", 4, found[-1].position)
        assert [each.time for each in rest] == [1001.0, 1000.0]
        (by,) = await trail.search(actor_id="u:boss")
        assert (by.event, by.actor, by.reason) == ("disable", "Boss", "a\ufffd?")
        assert len(await trail.search(since=1002.0, until=1004.0)) == 2
        assert len(await trail.search(events=["disable"])) == 1
        assert await trail.count("sign-in", 1003.0) == 3


@pytest.mark.limit(60)
async def test_events_of_the_same_moment_are_not_lost_between_pages(place: Place) -> None:
    """The position has the number of the row, too."""
    async with opened(place) as trail:
        for _ in range(7):
            trail.add(event(0))
        seen: list[int] = []
        before: tuple[float, int] | None = None
        while page := await trail.of("u:1", 3, before):
            seen += [each.id for each in page]
            before = page[-1].position
        assert len(seen) == len({*seen}) == 7


@pytest.mark.limit(60)
async def test_old_events_are_deleted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After --audit-days, in batches; 0 keeps all."""
    monkeypatch.setattr(audit_trail, "_BATCH", 2)
    now = time.time()
    async with opened(place, days=10) as trail:
        for days in (1, 9, 11, 12, 13, 14, 15):
            trail.add(event(0, time=now - days * 86_400))
        assert await trail.flush()
        assert await trail.prune() == 5
        assert len(await trail.of("u:1")) == 2
    async with opened(place, days=0) as trail:
        assert await trail.prune() == 0


async def test_events_wait_while_the_database_is_away(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Up to a bound; then a line says how many are missing. Nothing else waits."""
    monkeypatch.setattr(audit_trail, "_MAX_WAITING", 3)
    monkeypatch.setattr(audit_trail, "_RETRY_INTERVAL", 0.01)
    async with opened(place) as trail:
        run = trail._database.run

        async def away(*_: object, **options: object) -> Any:
            raise DatabaseUnavailable("away")

        monkeypatch.setattr(trail._database, "run", away)
        for number in range(8):
            trail.add(event(number))
        assert not await trail.flush()
        monkeypatch.setattr(trail._database, "run", run)
        await until(lambda: not trail._waiting)
        assert [each.time for each in await trail.of("u:1")] == [1002.0, 1001.0, 1000.0]
    lost = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert lost == ["events are missing in the stored audit trail count=5"]


async def test_names_that_no_account_has_are_not_stored(site: Site, ann: Visitor) -> None:
    """A user may have typed a password there; failures of accounts are stored."""
    await ann.sign_up("ann")
    await ann.post("/logout")
    await send(ann, "json", "/login", username="my password", password="by mistake")
    await send(ann, "json", "/login", username="ann", password="wrong wrong")
    found = await site.services.audit_trail.search()
    assert [each.event for each in found] == ["failure", "end", "sign-in", "registration"]
    assert {each.user for each in found} == {"ann"}


@pytest.mark.limit(60)
async def test_what_waits_is_stored_at_the_stop(place: Place) -> None:
    """And not lost."""
    database = open_accounts(place.settings)
    trail = AuditTrail(database, days=0)
    trail.add(event(0))
    await trail.stop()
    assert len(await trail.of("u:1")) == 1
    await database.close()


async def test_a_sign_in_does_not_wait_for_the_trail(site: Site, ann: Visitor) -> None:
    """Its task writes later."""
    trail = site.services.audit_trail
    async with trail._writing:  # as if a batch took long
        await ann.sign_up("ann")
        await ann.post("/logout")
        await ann.sign_in("ann", PASSWORD)
    assert len(await trail.search()) == 4
