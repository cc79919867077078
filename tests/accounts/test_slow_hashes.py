"""Hashes that take longer than anybody likes to wait, and what is stored after them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from app.accounts import calls
from app.accounts.passwords import Passwords
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, send, who
from tests.support.site import Site
from tests.support.visitor import Visitor
from tests.support.waiting import until

SLOW = 2.5  # seconds


class SlowHash:
    """Holds each hash of a new password until it is let go, or for some seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.hashing = 0
        self.go_on = threading.Event()
        compute = Passwords.hash

        def held(passwords: Passwords, password: str) -> str:
            self.hashing += 1
            self.go_on.wait(seconds)
            return compute(passwords, password)

        monkeypatch.setattr(Passwords, "hash", held)


async def change(visitor: Visitor) -> Any:
    """Send the form that changes the password."""
    return await send(visitor, "json", "/account/password", password=PASSWORD, new_password=NEW)


async def test_a_slow_hash_is_awaited_with_those_behind_it(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user hears that the password is changed, and a sign-in that waited succeeds."""
    await site.services.accounts.register("bob", PASSWORD)
    await ann.sign_up("ann")
    async with Visitor(site.url) as other, Visitor(site.url) as late:
        await other.sign_in("ann")
        slow = SlowHash(monkeypatch, SLOW)
        new = [f"name {number}" for number in range(calls._WORKERS - 1)]
        making = [asyncio.ensure_future(site.services.accounts.register(n, NEW)) for n in new]
        changing = asyncio.ensure_future(change(ann))
        await until(lambda: slow.hashing == calls._WORKERS)
        assert (await send(late, "json", "/login", username="bob", password=PASSWORD)).status == 204
        assert (await changing).status == 204
        assert await asyncio.gather(*making) == new
        assert await who(other) is None


async def test_a_change_goes_on_if_its_client_leaves(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the change follows: the other sessions end, and the audit trail has it."""
    await ann.sign_up("ann")
    async with Visitor(site.url) as other:
        await other.sign_in("ann")
        slow = SlowHash(monkeypatch, 20)
        changing = asyncio.ensure_future(change(ann))
        await until(lambda: slow.hashing == 1)
        changing.cancel()
        await asyncio.wait([changing])
        await ann.http.close()
        slow.go_on.set()
        await site.services.accounts.calls.hash(lambda: None)

        signed_in: str | None = "ann"
        async with asyncio.timeout(10):
            while signed_in is not None:
                signed_in = await who(other)
        user_id = (await site.services.accounts.by_name("ann")).id
        events = [event.event for event in await site.services.audit_trail.of(user_id)]
        assert "password change" in events
