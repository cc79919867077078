"""A new password by a one-time link."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.accounts.test_account_races import Held, login_during
from tests.support.accounts import account_id
from tests.support.browsers import ended, joined
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, ask, each_kind, send, who
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.visitor import Visitor
from tests.support.waiting import until

INVALID = "This link is not valid any more: it was used, is too old, or was replaced by a new one."


async def link(site: Site, name: str = "ann", lifetime: float = 3600.0) -> str:
    """Return the token of a link for a new password."""
    links, account = site.services.one_time_links, await account_id(site, name)
    return str(await links.create(account, "reset", lifetime))


async def reset(visitor: Visitor, kind: str, token: str, password: str = NEW) -> Any:
    """Send the form behind a link."""
    return await send(visitor, kind, "/reset", token=token, new_password=password)


@pytest.mark.asvs("6.4.3", "6.4.6")
@each_kind
async def test_a_link_sets_a_new_password_once(site: Site, ann: Visitor, kind: str) -> None:
    """The user signs in with it afterwards; the link does not sign in."""
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    answer = await reset(ann, kind, token)
    assert answer.status == (303 if kind == "form" else 204), answer.text
    assert await who(ann) is None
    again = await reset(ann, kind, token, "yet another password")
    assert (again.status, INVALID in again.text) == (410, True)
    assert await site.services.accounts.verify("ann", PASSWORD) is None
    assert await site.services.accounts.verify("ann", NEW) == "ann"


@pytest.mark.asvs("7.4.3")
async def test_a_reset_ends_all_sessions_and_their_sockets(site: Site, ann: Visitor) -> None:
    """Also those of the browser that resets, if it is signed in."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        socket = await joined(two, "websocket")
        assert (await reset(ann, "json", await link(site))).status == 204
        await until(lambda: bool(ended(socket)))
        assert (await who(ann), await who(two)) == (None, None)


@pytest.mark.parametrize("step", ["prove", "still_valid"])
async def test_a_sign_in_under_way_with_the_old_password_fails(site: Site, step: str) -> None:
    """Held after the proof, or after its session was stored."""
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    async with Visitor(site.url) as late, Visitor(site.url) as other:
        held = Held(site.services.accounts, step, after=step == "prove")

        async def act() -> None:
            assert (await reset(other, "json", token)).status == 204

        answer = await login_during(site, late, held, act)
        assert answer.status == 401
        assert await who(late) is None


async def test_of_two_uses_at_once_one_sets_the_password(site: Site) -> None:
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    passwords = [f"password number {number}" for number in range(6)]
    async with contextlib.AsyncExitStack() as stack:
        browsers = [await stack.enter_async_context(Visitor(site.url)) for _ in passwords]
        answers = await asyncio.gather(
            *(
                reset(browser, "json", token, password)
                for browser, password in zip(browsers, passwords, strict=True)
            )
        )
    statuses = [answer.status for answer in answers]
    assert sorted(statuses) == [204, *5 * [410]]
    winner = passwords[statuses.index(204)]
    assert await site.services.accounts.verify("ann", winner) == "ann"


@each_kind
async def test_a_refused_password_leaves_the_link_as_it_is(
    site: Site, visitor: Visitor, kind: str
) -> None:
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    answer = await reset(visitor, kind, token, "short")
    assert (answer.status, "A password has 8 to 128 characters." in answer.text) == (422, True)
    assert (await reset(visitor, kind, token)).status in (204, 303)


@pytest.mark.asvs("6.5.5")
@pytest.mark.parametrize("end", ["expired", "password changed", "disabled", "guessed"])
async def test_a_dead_link_sets_no_password(site: Site, ann: Visitor, end: str) -> None:
    """The page says so before the user types, and the form says so too."""
    await ann.sign_up("ann")
    token = await link(site, lifetime=-1 if end == "expired" else 3600)
    if end == "guessed":
        token = token.swapcase()
    elif end == "disabled":
        database = site.services.accounts.database
        with database.writing() as connection:
            connection.exec_driver_sql("UPDATE accounts SET disabled = 1")
    elif end == "password changed":
        fields = {"password": PASSWORD, "new_password": NEW}
        assert (await send(ann, "json", "/account/password", **fields)).status == 204
    async with Visitor(site.url) as visitor:
        shown = await visitor.page(f"/reset?token={token}", follow=True)
        assert (shown.status, INVALID in shown.text) == (410, True)
        assert (await reset(visitor, "json", token, "a third password")).status == 410
    assert await site.services.accounts.verify("ann", "a third password") is None


async def test_the_token_leaves_the_address_at_once(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """The redirect has it in a cookie that this page only gets; no log has it."""
    caplog.set_level(logging.DEBUG)
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    answer = await ask(visitor, f"/reset?token={token}")
    assert (answer.status, answer.headers["Location"]) == (303, "/reset")
    cookie = answer.headers["Set-Cookie"]
    assert cookie == (f"latchkey-link={token}; Max-Age=600; Path=/reset; HttpOnly; SameSite=Lax")
    shown = await ask(visitor, "/reset")
    assert (shown.status, "<strong>ann</strong>" in shown.text) == (200, True)
    assert shown.headers["Cache-Control"] == "no-store"
    assert shown.headers["Referrer-Policy"] == "same-origin"
    done = await reset(visitor, "form", token)
    assert (done.status, done.headers["Location"]) == (303, "/reset/done")
    assert "latchkey-link" not in visitor.cookies
    assert token not in caplog.text


async def test_https_makes_the_cookie_secure(tmp_path: Path) -> None:
    async with serve(tmp_path, cookie_secure="yes") as site, Visitor(site.url) as visitor:
        answer = await ask(visitor, "/reset?token=abc")
        assert answer.headers["Set-Cookie"].startswith("__Secure-latchkey-link=abc; ")
        assert answer.headers["Set-Cookie"].endswith("; Secure")


async def test_opening_a_link_does_not_use_it(site: Site, visitor: Visitor) -> None:
    """Programs that check mails open the links in them."""
    await site.services.accounts.register("ann", PASSWORD)
    token = await link(site)
    for _ in range(3):
        async with Visitor(site.url) as scanner:
            assert (await scanner.page(f"/reset?token={token}", follow=True)).status == 200
    assert (await reset(visitor, "form", token)).status == 303


@pytest.mark.asvs("6.3.1")
async def test_an_address_that_guesses_links_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guessed links count as failed sign-ins, and cost no hash."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as thief:
        await site.services.accounts.register("ann", PASSWORD)
        token, hashed = await link(site), []
        hash_of = PasswordHasher.hash

        def counted(*given: Any, **options: Any) -> str:
            hashed.append(given)
            return hash_of(*given, **options)

        monkeypatch.setattr(PasswordHasher, "hash", counted)
        for number in range(3):
            assert (await reset(thief, "json", f"guess{number}")).status == 410
        assert (await reset(thief, "json", token)).status == 429
        assert (await ask(thief, f"/reset?token={token}")).status == 303
        assert (await ask(thief, "/reset")).status == 429
        assert (await send(thief, "json", "/login", username="a", password="b")).status == 429
        assert hashed == []


async def test_a_reset_is_in_the_audit_log(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "latchkey.audit")
    await site.services.accounts.register("ann", PASSWORD)
    await reset(visitor, "json", await link(site))
    user_id = await account_id(site, "ann")
    assert (
        f"password reset user='ann' address='127.0.0.1' user_id='{user_id}' method='link'"
        in caplog.messages
    )


@pytest.mark.asvs("6.2.4", "6.2.11")
async def test_an_easy_password_is_refused_and_the_link_stays(site: Site, ann: Visitor) -> None:
    """The sentence says why; the same link sets a better one."""
    await site.services.accounts.register("annabel", PASSWORD)
    token = await link(site, "annabel")
    answer = await reset(ann, "json", token, "annabel2024")
    assert answer.status == 422
    assert answer.error.startswith("This is your user name with a year.")
    assert (await reset(ann, "json", token)).status == 204


async def test_below_a_base_path_links_and_cookies_have_it(tmp_path: Path) -> None:
    async with serve(tmp_path, base_path="/app") as site, Visitor(site.url) as visitor:
        await site.services.accounts.register("ann", PASSWORD)
        answer = await ask(visitor, f"/reset?token={await link(site)}")
        assert answer.headers["Location"] == "/app/reset"
        assert "; Path=/app/reset;" in answer.headers["Set-Cookie"]


@pytest.mark.limit(60)
async def test_a_reset_at_one_process_closes_sockets_of_another(
    tmp_path: Path, postgres: Any
) -> None:
    """They are told, and stay away: the old cookie opens nothing at either process."""
    url = postgres.url(postgres.database())
    async with sites(tmp_path, database=url) as (here, there), Visitor(there.url) as ann:
        await ann.sign_up("ann")
        socket = await joined(ann, "websocket")
        token = await link(here)
        async with Visitor(here.url) as browser:
            assert (await reset(browser, "json", token)).status == 204
        await until(lambda: bool(ended(socket)))
        for site in (here, there):
            ann.url = site.url
            assert await who(ann) is None
            assert (
                await ann.post("/login", json={"username": "ann", "password": PASSWORD})
            ).status == 401
