"""The code of docs/fork.md about accounts and sessions, run as it is written there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import handlers.session
from tests.support.accounts import account_id
from tests.support.fork_document import written_modules
from tests.support.forms import PASSWORD, ask, count, who
from tests.support.site import serve
from tests.support.visitor import Visitor

STOCK = ("handlers.counter", "handlers.sign_in", "handlers.health")


class SessionData(handlers.session.SessionData):
    """What the callback of the document needs."""

    oidc_state: str = ""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The stock modules and those of the two sections."""
    provider: Any = ModuleType("mysite.oidc")

    async def verified_claims(code: str) -> dict[str, str]:
        return {"iss": "https://id.example.com", "sub": code, "preferred_username": "Otto"}

    provider.authorization_url = lambda state: f"https://id.example.com/?state={state}"
    provider.verified_claims = verified_claims
    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    monkeypatch.setitem(sys.modules, "mysite.oidc", provider)
    return (
        *STOCK,
        *written_modules("Accounts and signing in", monkeypatch),
        *written_modules("Sessions from anywhere", monkeypatch),
    )


async def test_the_hooks_of_the_document_follow_accounts(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """A member is welcome until they are banned, and forgotten with the account."""
    members: Any = sys.modules["tests.document_members"]
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        user_id = await account_id(site, "ann")
        assert members.members == {user_id: "newcomer"}
        members.banned.add(user_id)
        answer = await ann.post("/login", json={"username": "ann", "password": PASSWORD})
        assert (answer.status, "You are banned" in answer.text) == (403, True)
        accounts = site.services.accounts
        assert await accounts.remove(await accounts.by_id(user_id))
        assert members.members == {}
        assert await who(ann) is None


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


async def test_the_moderators_of_the_document_reach_all_sessions_of_an_account(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Others get 403."""
    moderators: Any = sys.modules["tests.document_moderators"]
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        Visitor(site.url) as moderator,
        Visitor(site.url) as ann,
    ):
        await moderator.sign_up("moderator")
        await ann.sign_up("ann")
        await ann.post("/incr")
        user_id = await account_id(site, "ann")
        assert (await ann.post(f"/kick/{user_id}")).status == 403
        moderators.moderators.add(await account_id(site, "moderator"))
        assert await count(ann) == 1
        assert (await moderator.post(f"/reset/{user_id}")).status == 204
        assert await count(ann) == 0
        assert (await moderator.post(f"/kick/{user_id}")).json() == {"ended": 1}
        assert await who(ann) is None
        assert (await ask(moderator)).status == 200
