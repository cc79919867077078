"""The second step of a sign-in: a code, asked for once the password is proven."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.accounts import Account, calls
from tests.support.clock import Clock
from tests.support.forms import PASSWORD, Answer, ask, each_kind, known, send, who
from tests.support.second_factors import code, enrol, wrong
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

NEW = "another password of hers"


class Scene:
    """A site where Ann has a second factor."""

    def __init__(self, site: Site, clock: Clock, secret: str) -> None:
        self.site, self.clock, self.secret = site, clock, secret

    def code(self, steps: int = 0) -> str:
        return code(self.secret, self.clock, steps)

    def wrong(self) -> str:
        return wrong(self.secret, self.clock)


@contextlib.asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site:
        await known(site, "Ann", "Bob")
        yield Scene(site, clock, await enrol(site, "Ann"))


async def step_one(visitor: Visitor, kind: str = "json", **fields: str) -> Answer:
    return await send(
        visitor, kind, "/login", **{"username": "Ann", "password": PASSWORD, **fields}
    )


async def step_two(visitor: Visitor, code: str, kind: str = "json", **fields: str) -> Answer:
    return await send(visitor, kind, "/login/code", code=code, **fields)


async def sign_in(visitor: Visitor, code: str, **fields: str) -> int:
    """Take both steps; return the status of the second."""
    assert (await step_one(visitor)).status == 401
    return (await step_two(visitor, code, **fields)).status


@pytest.mark.asvs("6.3.3")
@each_kind
async def test_the_password_leads_to_the_code_and_the_code_signs_in(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A form goes to /login/code and on to `next`; a script gets 401, and then 204."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        first = await step_one(ann, kind, **({"next": "/account"} if kind == "form" else {}))
        if kind == "form":
            assert (first.status, first.headers["Location"]) == (303, "/login/code")
            assert "Ann" in (await ask(ann, "/login/code")).text
        else:
            assert (first.status, first.json()["code_required"]) == (401, True)
        assert (await who(ann), ann.cookie) == (None, "")
        second = await step_two(ann, here.code(), kind)
        assert second.status == (303 if kind == "form" else 204)
        assert second.headers.get("Location") == ("/account" if kind == "form" else None)
        assert await who(ann) == "Ann"
    assert "method='password+totp'" in caplog.text


@pytest.mark.asvs("6.3.8")
@each_kind
async def test_only_the_right_password_tells_that_there_is_a_second_factor(
    tmp_path: Path, kind: str
) -> None:
    """A wrong one is answered as for an account without."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as eve:
        answers = [
            await step_one(eve, kind, username=name, password="wrong wrong")
            for name in ("Ann", "Bob")
        ]
        assert answers[0].status == answers[1].status == 401
        assert answers[0].text.replace("Ann", "Bob") == answers[1].text
        assert "Set-Cookie" not in answers[0].headers
        assert (await step_one(eve, kind, username="Bob")).status == (
            303 if kind == "form" else 204
        )


@each_kind
async def test_without_the_password_there_is_no_code_to_enter(tmp_path: Path, kind: str) -> None:
    """Nor with a cookie that somebody made up: a browser goes to /login, a script gets 401."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as eve:
        for cookie in ("", "latchkey-proven=e30.AAAA", "latchkey-proven=" + "x" * 5000):
            headers = {"Cookie": cookie} if cookie else {}
            answer = await send(eve, kind, "/login/code", headers, code=here.code())
            if kind == "form":
                assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2F")
            else:
                assert (answer.status, set(answer.json())) == (401, {"error"})
        assert await who(eve) is None


@pytest.mark.asvs("6.5.1")
async def test_a_code_signs_one_browser_in(tmp_path: Path) -> None:
    """Two at once, and one after the other."""
    async with (
        scene(tmp_path) as here,
        Visitor(here.site.url) as ann,
        Visitor(here.site.url) as thief,
    ):
        await step_one(ann)
        await step_one(thief)
        answers = await asyncio.gather(*(step_two(each, here.code()) for each in (ann, thief)))
        assert sorted(answer.status for answer in answers) == [204, 401]
        assert (await step_two(thief, here.code())).status == 401


@pytest.mark.asvs("6.3.1")
@each_kind
async def test_wrong_codes_are_limited(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After ten in an hour even the right one has to wait, whatever the address or the browser."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here, contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(Visitor(here.site.url)) for _ in range(10)]
        for eve in visitors:
            await step_one(eve)
            answer = await step_two(eve, here.wrong(), kind)
            assert answer.status == 401
            assert "Wrong code" in answer.error
        answer = await step_two(visitors[0], here.code(), kind)
        assert answer.status == 429
        assert 3500 < int(answer.headers["Retry-After"]) <= 3600
        assert "wait 60 minutes" in answer.error
        assert await who(visitors[0]) is None
    assert caplog.text.count("reason='wrong code'") == 10


@pytest.mark.asvs("6.3.1")
async def test_codes_guessed_at_once_are_limited_as_those_one_by_one(tmp_path: Path) -> None:
    """A burst gets no more tries than the limit and the few that are being looked up."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as eve:
        await step_one(eve)
        answers = await asyncio.gather(*(step_two(eve, here.wrong()) for _ in range(40)))
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {401, 429}
        assert 10 <= statuses.count(401) < 10 + calls._READERS


@pytest.mark.asvs("6.3.1")
async def test_nobody_without_the_password_uses_up_the_tries_of_the_owner(tmp_path: Path) -> None:
    """Nor does somebody with it those of a browser in which the owner has signed in."""
    async with (
        scene(tmp_path) as here,
        Visitor(here.site.url) as ann,
        Visitor(here.site.url) as eve,
    ):
        assert await sign_in(ann, here.code()) == 204
        await ann.sign_out()
        for _ in range(12):
            assert (await step_two(eve, here.wrong())).status == 401
        async with Visitor(here.site.url) as elsewhere:
            assert await sign_in(elsewhere, here.code(1)) == 204
        await step_one(eve)
        for _ in range(10):
            assert (await step_two(eve, here.wrong())).status == 401
        assert (await step_two(eve, here.code())).status == 429
        here.clock.now += 60
        assert await sign_in(ann, here.code()) == 204


async def test_a_proven_password_is_good_for_ten_minutes(tmp_path: Path) -> None:
    """And as long as it is the password of the account."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        await step_one(ann)
        here.clock.now += 599
        assert "Ann" in (await ask(ann, "/login/code")).text
        here.clock.now += 1
        assert (await step_two(ann, here.code())).status == 401
        await step_one(ann)
        accounts = here.site.services.accounts
        await accounts.change_password(await accounts.prove("Ann", PASSWORD), NEW)
        assert (await step_two(ann, here.code())).status == 401
        await step_one(ann, password=NEW)
        assert (await step_two(ann, here.code())).status == 204


async def test_a_second_factor_that_was_turned_off_meanwhile_is_not_asked_for(
    tmp_path: Path,
) -> None:
    """The user begins again, by the password alone."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        await step_one(ann)
        account = await here.site.services.accounts.by_name("Ann")
        await here.site.services.totp.remove(account.id)
        assert (await ask(ann, "/login/code")).headers["Location"] == "/login?next=%2F"
        assert (await step_one(ann)).status == 204


async def test_hooks_still_decide_after_the_code(tmp_path: Path) -> None:
    """An account that a hook refuses is told so, and has no session."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:

        def refuse(account: Account) -> str | None:
            return f"{account.name} is banned."

        here.site.services.sign_in.may_sign_in.append(refuse)
        await step_one(ann)
        answer = await step_two(ann, here.code())
        assert (answer.status, answer.error) == (403, "Ann is banned.")
        assert await who(ann) is None


# -- trusted devices --


async def test_a_trusted_device_is_asked_for_no_code_for_thirty_days(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """This browser only; two users of a browser can both trust it."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with (
        scene(tmp_path) as here,
        Visitor(here.site.url) as ann,
        Visitor(here.site.url) as eve,
    ):
        other = await enrol(here.site, "Bob")
        assert await sign_in(ann, here.code(), trust="yes") == 204
        await ann.sign_out()
        await step_one(ann, username="Bob")
        assert (await step_two(ann, code(other, here.clock), trust="yes")).status == 204
        for name in ("Ann", "Bob"):
            await ann.sign_out()
            assert (await step_one(ann, username=name)).status == 204
        assert "method='password+trusted device'" in caplog.text
        assert (await step_one(eve)).status == 401
        here.clock.now += 30 * 86_400
        assert (await step_one(ann)).status == 401


async def test_a_trusted_device_still_needs_the_password(tmp_path: Path) -> None:
    """And the one that it was trusted with."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        assert await sign_in(ann, here.code(), trust="yes") == 204
        answer = await step_one(ann, password="wrong wrong")
        assert (answer.status, answer.error) == (401, "Wrong name or wrong password.")
        changed = await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        assert changed.status == 204
        await ann.sign_out()
        assert (await step_one(ann, password=NEW)).status == 401


@pytest.mark.asvs("3.3.1", "3.3.2", "3.3.4")
async def test_the_cookies_of_both_steps_have_the_attributes_of_the_others(tmp_path: Path) -> None:
    """They are HttpOnly and sent to /login only, and by https their names are guarded."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        first = await step_one(ann)
        second = await step_two(ann, here.code(), trust="yes")
        sent = [*first.headers.getall("Set-Cookie"), *second.headers.getall("Set-Cookie")]
        ours = [cookie for cookie in sent if "Path=/login" in cookie]
        assert [cookie.partition("=")[0].rpartition("-")[0] for cookie in ours] == [
            "latchkey",
            "latchkey",
            "latchkey-trusted",
            "latchkey",
        ]
        assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in ours)
        cookies = here.site.app.web.settings["web"].login_cookies
        by_https = cookies.set_trusted("u:1", "token", secure=True)
        assert by_https.startswith("__Secure-latchkey-trusted-")
        assert by_https.endswith("; Secure")


@pytest.mark.asvs("6.3.1")
async def test_known_devices_have_thirty_wrong_codes_an_hour_together(tmp_path: Path) -> None:
    """Somebody with the password cannot multiply the tries by more devices."""
    async with scene(tmp_path) as here:
        limits = here.site.services.limits
        for number in range(6):
            for _ in range(5):
                assert not await limits.code_wait("u:1", f"device {number}")
                await limits.code_failed("u:1", f"device {number}")
        assert await limits.code_wait("u:1", "a new device") > 0
        assert not await limits.code_wait("u:1")
        assert not await limits.code_wait("u:2", "a device of somebody else")
