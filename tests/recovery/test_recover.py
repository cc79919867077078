"""A new password by a recovery code."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from argon2.low_level import hash_secret_raw

from tests.support.accounts import account_id
from tests.support.browsers import ended, joined
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, each_kind, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

WRONG = "Wrong name or wrong recovery code."


async def codes_of(site: Site, name: str = "ann") -> list[str]:
    """Make recovery codes for an account."""
    return list(await site.services.recovery_codes.create(await account_id(site, name)))


async def recover(
    visitor: Visitor, kind: str, code: str, password: str = NEW, name: str = "ann"
) -> Any:
    """Send the form with a recovery code."""
    fields = {"username": name, "code": code, "new_password": password}
    return await send(visitor, kind, "/recover/code", **fields)


@pytest.mark.asvs("6.4.3", "7.4.3")
@each_kind
async def test_a_code_sets_a_new_password_once(site: Site, ann: Visitor, kind: str) -> None:
    """All sessions end, and nobody is signed in."""
    await ann.sign_up("ann")
    socket = await joined(ann, "websocket")
    code, *_ = await codes_of(site)
    async with Visitor(site.url) as visitor:
        answer = await recover(visitor, kind, code)
        assert answer.status == (303 if kind == "form" else 204), answer.text
        assert await who(visitor) is None
        await until(lambda: bool(ended(socket)))
        assert await who(ann) is None
        again = await recover(visitor, kind, code, "yet another password")
        assert (again.status, WRONG in again.text) == (401, True)
    assert await site.services.accounts.verify("ann", NEW) == "ann"
    assert await site.services.recovery_codes.left(await account_id(site, "ann")) == 0


async def test_of_two_uses_of_a_code_at_once_one_succeeds(site: Site) -> None:
    await site.services.accounts.register("ann", PASSWORD)
    code, *_ = await codes_of(site)
    async with Visitor(site.url) as one, Visitor(site.url) as two:
        answers = await asyncio.gather(
            recover(one, "json", code, "the password of one"),
            recover(two, "json", code, "the password of two"),
        )
        assert sorted(answer.status for answer in answers) == [204, 401]


async def test_a_refused_password_leaves_the_code_as_it_is(site: Site, visitor: Visitor) -> None:
    await site.services.accounts.register("ann", PASSWORD)
    code, *_ = await codes_of(site)
    assert (await recover(visitor, "json", code, "short")).status == 422
    assert (await recover(visitor, "json", code)).status == 204


async def test_a_disabled_account_is_refused_like_a_wrong_code(
    site: Site, visitor: Visitor
) -> None:
    """The code stays good, for the day that the account is enabled."""
    await site.services.accounts.register("ann", PASSWORD)
    code, *_ = await codes_of(site)
    with site.services.accounts.database.writing() as connection:
        connection.exec_driver_sql("UPDATE accounts SET disabled = 1")
    answer = await recover(visitor, "json", code)
    assert (answer.status, answer.error) == (401, WRONG)
    with site.services.accounts.database.writing() as connection:
        connection.exec_driver_sql("UPDATE accounts SET disabled = NULL")
    assert (await recover(visitor, "json", code)).status == 204


@pytest.mark.asvs("6.3.1")
@pytest.mark.parametrize("name", ["ann", "unknown"])
async def test_guessed_codes_are_limited(tmp_path: Path, name: str) -> None:
    """Like passwords: per address and per account, whether there is such an account or not."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as thief:
        await site.services.accounts.register("ann", PASSWORD)
        code, *_ = await codes_of(site)
        for _ in range(3):
            assert (await recover(thief, "json", "wrong-wrong", name=name)).status == 401
        answer = await recover(thief, "json", code, name=name)
        assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (429, True)
    assert answer.error.startswith("Too many tries; wait ")


@pytest.mark.asvs("6.3.8")
async def test_unknown_names_get_the_same_answer_for_the_same_work(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same body, and as many hashes and calls of the database."""
    for name in ("ann", "bob"):
        await site.services.accounts.register(name, PASSWORD)
    await codes_of(site)
    done: list[str] = []
    calls = site.services.accounts.calls

    def counted(kind: str, call: Any) -> Any:
        async def run(*given: Any, **options: Any) -> Any:
            done.append(kind)
            return await call(*given, **options)

        return run

    for kind in ("run", "hash"):
        monkeypatch.setattr(calls, kind, counted(kind, getattr(calls, kind)))

    def hashed(*given: Any, **options: Any) -> bytes:
        done.append("argon2")
        return hash_secret_raw(*given, **options)

    monkeypatch.setattr("app.accounts.recovery_codes.hash_secret_raw", hashed)
    seen = set()
    for name in ("ann", "bob", "unknown", "\0"):
        done.clear()
        answer = await recover(visitor, "json", "wrong-wrong", name=name)
        seen.add((answer.status, answer.text, tuple(done)))
    assert seen == {(401, f'{{"error": "{WRONG}"}}', ("run", "hash", "argon2", "run"))}


async def test_a_wrong_code_is_in_the_audit_log(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a name that no account has, which may be a password."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    await site.services.accounts.register("ann", PASSWORD)
    await recover(visitor, "json", "wrong")
    await recover(visitor, "json", "wrong", name="my secret password")
    user_id = await account_id(site, "ann")
    start = "address='127.0.0.1' reason='wrong recovery code'"
    assert f"failure user='ann' {start} user_id='{user_id}'" in caplog.messages
    assert f"failure {start}" in caplog.messages
    assert "my secret password" not in caplog.text


async def test_the_sign_in_page_leads_to_recovery(site: Site, visitor: Visitor) -> None:
    assert 'href="/recover"' in (await visitor.page("/login")).text
    assert (await visitor.page("/recover")).status == 200
