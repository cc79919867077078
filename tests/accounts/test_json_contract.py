"""The stock pages as JSON: the statuses and fields of the table in docs/handlers.md."""

from __future__ import annotations

from typing import Any

import pytest

from app.accounts import Account
from app.testing import PASSWORD, Answer, Site, Visitor
from tests.support.demo.session import SessionData
from tests.support.fork import fork

JSON = {"Accept": "application/json"}
ANN: dict[str, Any] = {"username": "ann", "password": PASSWORD}


def may_sign_in(account: Account) -> str | None:
    """Refuse one name."""
    return "You are banned." if account.name == "mallory" else None


@pytest.fixture
def latchkey_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    modules = fork(monkeypatch, may_sign_in=may_sign_in)
    stock = ("handlers.account", "handlers.signed_in")
    return {
        "modules": (*modules, *stock),
        "data_type": SessionData,
        "failed_logins_per_minute": 3,
    }


async def post(visitor: Visitor, path: str, **fields: object) -> Answer:
    """Post as the script of a single page app; without fields, without a body."""
    if fields:
        return await visitor.post(path, json=fields, headers=JSON)
    return await visitor.post(path, headers=JSON)


async def user(visitor: Visitor) -> str | None:
    """Return what GET /session says."""
    name: str | None = (await visitor.get("/session", headers=JSON)).json()["user"]
    return name


async def test_registering_signs_in_and_signing_out_needs_no_session(visitor: Visitor) -> None:
    """204 without a body."""
    assert await post(visitor, "/register", **ANN) == (204, "")
    assert await user(visitor) == "ann"
    for _ in range(2):
        assert await post(visitor, "/logout") == (204, "")
        assert await user(visitor) is None
    assert await post(visitor, "/login", **ANN) == (204, "")
    assert await user(visitor) == "ann"


async def test_a_sign_in_is_refused_by_status(latchkey: Site, visitor: Visitor) -> None:
    """With a sentence, and the last time with the seconds to wait."""
    await post(latchkey.visitor(), "/register", **ANN)
    refused: list[tuple[str, dict[str, Any], int]] = [
        ("/login", {"username": "ann", "password": "wrong"}, 401),
        ("/login", {"username": "ann", "password": ""}, 422),
        ("/login", {"username": "ann", "password": 1}, 422),
        ("/register", ANN, 422),
        ("/register", {"username": "bob", "password": "short"}, 422),
        ("/register", {"username": "mallory", "password": PASSWORD}, 403),
    ]
    for path, fields, status in refused:
        answer = await post(visitor, path, **fields)
        assert (answer.status, set(answer.json())) == (status, {"error"})
    wrong = {"username": "ann", "password": "wrong"}
    answer = [await post(visitor, "/login", **wrong) for _ in range(3)][-1]
    assert (answer.status, set(answer.json())) == (429, {"error"})
    assert int(answer.headers["Retry-After"]) > 0
    assert await user(visitor) is None


async def test_the_account_and_its_actions(latchkey: Site, visitor: Visitor) -> None:
    """For a visitor 401, for a user 204 or a sentence."""
    other = latchkey.visitor()
    actions: list[tuple[str, dict[str, object]]] = [
        ("/account/sessions/0/revoke", {}),
        ("/account/sessions/revoke-others", {}),
        ("/account/password", {"password": PASSWORD, "new_password": "another password"}),
        ("/account/delete", {"password": PASSWORD}),
    ]
    assert (await visitor.get("/account", headers=JSON)).status == 401
    for path, fields in actions:
        assert (await post(visitor, path, **fields)).status == 401
    await post(visitor, "/register", **ANN)
    await post(other, "/login", **ANN)
    account = (await visitor.get("/account", headers=JSON)).json()
    assert set(account) == {"user", "user_id", "devices", "more"}
    (id,) = (device["id"] for device in account["devices"] if not device["current"])
    assert (await post(visitor, "/account/sessions/0/revoke")).status == 404
    assert await post(visitor, f"/account/sessions/{id}/revoke") == (204, "")
    assert await user(other) is None
    assert await post(visitor, "/account/sessions/revoke-others") == (204, "")
    changed = {"password": PASSWORD, "new_password": "another password"}
    assert (
        await post(visitor, "/account/password", **{**changed, "new_password": ""})
    ).status == 422
    assert await post(visitor, "/account/password", **changed) == (204, "")
    assert (await post(visitor, "/account/delete", password=PASSWORD)).status == 403
    assert await post(visitor, "/account/delete", password="another password") == (204, "")
    assert await user(visitor) is None
