"""`GET /session`: who is signed in and until when."""

from __future__ import annotations

from typing import Any

import pytest

from app.testing import Site, Visitor, serve
from tests.support.demo import MODULES
from tests.support.demo.session import SessionData

DAY = 86_400
NOBODY = {
    "user": None,
    "user_id": None,
    "authenticated": None,
    "actor": None,
    "expires": None,
    "expires_at_latest": None,
}
APP = "https://app.example.org"


async def account_id(site: Site, name: str) -> str:
    account = await site.services.accounts.by_name(name)
    assert account is not None
    return account.id


@pytest.fixture
def latchkey_options() -> dict[str, Any]:
    return {"modules": MODULES, "data_type": SessionData, "trusted_origins": (APP,)}


async def test_a_visitor_gets_a_clear_answer_and_no_session(
    latchkey: Site, visitor: Visitor
) -> None:
    """200, so that the console of a browser stays clean."""
    answer = await visitor.get("/session")
    assert (answer.status, answer.json()) == (200, {**NOBODY, "now": int(latchkey.clock())})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


async def test_a_user_learns_the_name_and_both_deadlines(latchkey: Site, visitor: Visitor) -> None:
    """The idle timeout moves with activity, the other one does not."""
    await visitor.register("ann")
    begin = latchkey.clock()
    await latchkey.advance(DAY / 2)
    await visitor.post("/incr")
    assert (await visitor.get("/session")).json() == {
        "user": "ann",
        "user_id": await account_id(latchkey, "ann"),
        "authenticated": int(begin),
        "actor": None,
        "expires": int(begin + 1.5 * DAY),
        "expires_at_latest": int(begin + 30 * DAY),
        "now": int(begin + DAY / 2),
    }


async def test_it_does_not_prolong_the_session(latchkey: Site, visitor: Visitor) -> None:
    """A page that asks every minute is signed out as idle all the same."""
    await visitor.register("ann")
    socket = await visitor.socket()
    expires = (await visitor.get("/session")).json()["expires"]
    for _ in range(2):
        await latchkey.advance(DAY * 0.45)
        assert (await visitor.get("/session")).json()["expires"] == expires
    await latchkey.advance(DAY * 0.2)
    assert await socket.ended() == "idle"
    assert (await visitor.get("/session")).json()["user"] is None


async def test_a_page_of_a_trusted_origin_reads_it(latchkey: Site, visitor: Visitor) -> None:
    """By CORS; another origin gets no such headers."""
    await visitor.register("ann")
    visitor.origin = APP
    answer = await visitor.get("/session")
    assert answer.json()["user"] == "ann"
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    visitor.origin = "https://evil.example"
    answer = await visitor.get("/session")
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_site_without_limits_says_never() -> None:
    """null, since JSON has no infinity."""
    async with serve(
        modules=MODULES, data_type=SessionData, session_idle_timeout=0.0, session_max_age=0.0
    ) as site:
        visitor = site.visitor()
        await visitor.register("ann")
        now = int(site.clock())
        assert (await visitor.get("/session")).json() == {
            **NOBODY,
            "user": "ann",
            "user_id": await account_id(site, "ann"),
            "authenticated": now,
            "now": now,
        }
