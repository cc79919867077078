"""The callback of OpenID Connect in docs/accounts.md, beside the product of docs/fork.md."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.accounts import account_id
from tests.support.demo import session
from tests.support.fork_document import served
from tests.support.forms import PASSWORD, count, who
from tests.support.site import serve
from tests.support.visitor import Visitor


class SessionData(session.SessionData):
    """What the callback of the document needs."""

    oidc_state: str = ""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The product, and the callback beside it."""
    provider: Any = ModuleType("mysite.oidc")

    async def verified_claims(code: str) -> dict[str, str]:
        return {"iss": "https://id.example.com", "sub": code, "preferred_username": "Otto"}

    provider.authorization_url = lambda state: f"https://id.example.com/?state={state}"
    provider.verified_claims = verified_claims
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.oidc", provider)
    names = served(tmp_path / "product", monkeypatch, "fork", "accounts")
    return (*names, "handlers.oidc")


async def test_moderators_of_the_document_reset_and_ban(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """A member who is no moderator gets 403; a banned one is signed out and stays out."""
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        Visitor(site.url) as moderator,
        Visitor(site.url) as bob,
    ):
        await moderator.sign_up("moderator")
        await bob.sign_up("bob")
        await bob.post("/incr")
        bobs_id = await account_id(site, "bob")
        assert (await bob.post(f"/ban/{bobs_id}")).status == 403
        moderator_id = await account_id(site, "moderator")
        await site.services.roles.set(moderator_id, add=["moderator"])
        assert (await moderator.post(f"/reset/{bobs_id}")).status == 204
        assert await count(bob) == 0
        assert (await moderator.post("/ban/u:nobody")).status == 404
        assert (await moderator.post(f"/ban/{bobs_id}")).json() == {"ended": 1}
        assert await who(bob) is None
        answer = await bob.post("/login", json={"username": "bob", "password": PASSWORD})
        assert (answer.status, "You are banned" in answer.text) == (403, True)


async def test_a_deleted_account_of_the_document_takes_its_row_along(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """It had one since it was created."""
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        Visitor(site.url) as ann,
    ):

        async def members() -> list[bool]:
            table = sa.text("SELECT banned FROM members")
            rows: list[bool] = await site.services.database.read(
                lambda connection: list(connection.scalars(table))
            )
            return rows

        await ann.sign_up("ann")
        assert await members() == [False]
        accounts = site.services.accounts
        assert await accounts.remove(await accounts.by_name("ann"))
        assert await members() == []


async def test_the_ways_of_signing_in_of_the_document_sign_in(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """By a proxy's headers and by OpenID Connect; the same person gets the same account."""
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        Visitor(site.url) as visitor,
        Visitor(site.url) as other,
    ):
        headers = {"X-Company-Id": "17", "X-Company-Name": "Karla"}
        assert (await visitor.post("/company")).status == 401
        assert (await visitor.post("/company", headers=headers)).status == 303
        assert await who(visitor) == "Karla"
        taken = {"X-Company-Id": "18", "X-Company-Name": "KARLA"}
        assert (await other.post("/company", headers=taken)).status == 409
        for code, name in (("17", "Karla"), ("99", "Otto")):
            begun = await other.post("/oidc")
            state = begun.headers["Location"].partition("state=")[2]
            callback = f"/oidc/callback?code={code}&state="
            assert (await visitor.get(callback + state)).status == 403
            assert (await other.get(callback + state)).status == 303
            assert await who(other) == name
            assert (await other.get(callback + state)).status == 403
