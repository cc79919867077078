"""Sign-ins, changes and deletions of an account at the same time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.accounts import Account
from tests.accounts.test_login_code import scene, step_one, step_two
from tests.support.accounts import account_id
from tests.support.demo import MODULES
from tests.support.demo.session import BaseHandler
from tests.support.devices import NEW, id_of, ids
from tests.support.fork import fork
from tests.support.forms import PASSWORD, Answer, ask, each_kind, send, who
from tests.support.second_factors import enrol
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.watched_store import WatchedStore


class Held:
    """Holds up the first of some calls of an object until the test says so."""

    def __init__(self, owner: Any, name: str, *, after: bool = False) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        call = getattr(owner, name)

        async def held(*arguments: Any, **options: Any) -> Any:
            if self.reached.is_set():
                return await call(*arguments, **options)
            result = await call(*arguments, **options) if after else None
            self.reached.set()
            await self.go_on.wait()
            return result if after else await call(*arguments, **options)

        setattr(owner, name, held)


def delete_row(tmp_path: Path, key: str) -> None:
    """Delete an account past the program, so that its sessions stay."""
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "accounts.sqlite3")) as database:
        database.execute("DELETE FROM accounts WHERE key = ?", (key,))
        database.commit()


async def login_during(site: Site, late: Visitor, held: Held, act: Any) -> Answer:
    """Begin a login, let `act` happen while it is held, and return its answer."""
    login = asyncio.ensure_future(send(late, "json", "/login", username="ann", password=PASSWORD))
    await asyncio.wait_for(held.reached.wait(), 5)
    await act()
    held.go_on.set()
    return await login


@pytest.mark.asvs("7.4.2")
@pytest.mark.parametrize("change", ["password", "delete"])
@pytest.mark.parametrize("step", ["proved", "stored", "confirmed"])
async def test_a_login_does_not_outlive_the_password_that_it_proved(
    site: Site, ann: Visitor, change: str, step: str
) -> None:
    """Held after it was verified, stored or confirmed, it ends with all other sessions."""
    async with Visitor(site.url) as late:
        await ann.sign_up("ann")
        services, user_id = site.services, await account_id(site, "ann")

        async def act() -> None:
            fields = {"password": PASSWORD, "new_password": NEW}
            answer = await send(ann, "json", f"/account/{change}", **fields)
            assert answer.status == 204

        held = {
            "proved": lambda: Held(services.accounts, "prove", after=True),
            "stored": lambda: Held(services.accounts, "still_valid"),
            "confirmed": lambda: Held(services.accounts, "still_valid", after=True),
        }[step]()
        answer = await login_during(site, late, held, act)
        if step == "confirmed":
            assert answer.status == 204
        else:
            assert answer.status == 401
            assert late.cookie == ""
        assert await who(late) is None
        assert await who(ann) == ("ann" if change == "password" else None)
        assert len(await services.sessions.store.of_user(user_id)) == (change == "password")


async def test_a_ban_during_a_change_of_the_password_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session that the ban has ended does not come back under a new id."""
    banned: set[str] = set()

    def may_sign_in(account: Account) -> str | None:
        return "You are banned." if account.id in banned else None

    modules = (*MODULES, *fork(monkeypatch, may_sign_in=may_sign_in)[-1:])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as eve:
        await eve.sign_up("eve")
        user_id, services = await account_id(site, "eve"), site.services
        held = Held(services.accounts, "change_password", after=True)
        fields = {"password": PASSWORD, "new_password": NEW}
        change = asyncio.ensure_future(send(eve, "json", "/account/password", **fields))
        await asyncio.wait_for(held.reached.wait(), 5)
        banned.add(user_id)
        assert await services.sessions.end_user(user_id) == 1
        held.go_on.set()
        answer = await change
        assert (answer.status, answer.json()) == (403, {"error": "You are banned."})
        assert await services.sessions.of_user(user_id) == []
        assert await who(eve) is None


async def test_a_session_that_has_ended_is_not_regenerated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a proof of the user it would come back after a logout elsewhere."""

    class Renewing(BaseHandler):
        async def post(self) -> None:
            await self.services.sessions.end(self.session.id)
            await self.regenerate()

    modules = fork(monkeypatch, routes=[(r"/renew", Renewing)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        assert (await ann.post("/renew")).headers["Location"] == "/login?next=%2F"
        assert await site.services.sessions.of_user(await account_id(site, "ann")) == []


async def test_two_changes_of_a_password_at_once_make_one(site: Site, ann: Visitor) -> None:
    """Of two devices that change it, one has to hear that it was too late."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        words = ["the first new one", "the second new one"]
        answers = await asyncio.gather(
            *(
                send(visitor, "json", "/account/password", password=PASSWORD, new_password=new)
                for visitor, new in zip((ann, two), words, strict=True)
            )
        )
        statuses = sorted(answer.status for answer in answers)
        assert statuses[0] == 204
        assert statuses[1] in (401, 403, 409)
        verdicts = [await site.services.accounts.verify("ann", new) for new in words]
        assert sorted(map(str, verdicts)) == ["None", "ann"]
        assert len(await site.services.sessions.of_user(await account_id(site, "ann"))) == 1


@pytest.mark.asvs("7.4.2")
async def test_a_store_that_fails_keeps_the_account(tmp_path: Path) -> None:
    """No session outlives its account: where sessions cannot be ended, nothing is deleted."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        prove = site.services.accounts.prove

        async def then_fail(*arguments: Any, **options: Any) -> Any:
            proof = await prove(*arguments, **options)
            store.down = True
            return proof

        site.services.accounts.prove = then_fail
        answer = await send(ann, "json", "/account/delete", password=PASSWORD)
        assert answer.status == 503
        store.down = False
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@each_kind
@pytest.mark.parametrize("step", ["prove", "change_password"])
async def test_a_change_says_what_a_store_that_fails_left_undone(
    tmp_path: Path, kind: str, step: str
) -> None:
    """Where others cannot be signed out the password stays, or the page tells that it did not."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        call = getattr(site.services.accounts, step)

        async def then_fail(*arguments: Any, **options: Any) -> Any:
            result = await call(*arguments, **options)
            store.down = True
            return result

        setattr(site.services.accounts, step, then_fail)
        fields = {"password": PASSWORD, "new_password": NEW}
        answer = await send(ann, kind, "/account/password", **fields)
        assert answer.status == 503
        store.down = False
        changed = step == "change_password"
        assert ("Your password is changed" in answer.text) is changed
        verdict = await site.services.accounts.verify("ann", NEW if changed else PASSWORD)
        assert verdict == "ann"


@pytest.mark.parametrize("first", ["register", "password"])
@pytest.mark.parametrize("then", ["password", "delete"])
async def test_a_password_that_was_changed_meanwhile_signs_no_user_in(
    tmp_path: Path, first: str, then: str
) -> None:
    """A registration and a change of the password check again, as a sign-in does."""
    async with serve(tmp_path) as site, Visitor(site.url) as slow, Visitor(site.url) as quick:
        services, password = site.services, PASSWORD
        if first == "register":
            held = Held(services.accounts, "create", after=True)
            fields = {"username": "ann", "password": PASSWORD}
            begun = asyncio.ensure_future(send(slow, "json", "/register", **fields))
        else:
            await slow.sign_up("ann")
            held, password = Held(services.accounts, "change_password", after=True), NEW
            fields = {"password": PASSWORD, "new_password": NEW}
            begun = asyncio.ensure_future(send(slow, "json", "/account/password", **fields))
        await asyncio.wait_for(held.reached.wait(), 5)
        await quick.sign_in("ann", password)
        fields = {"password": password, "new_password": "the third password"}
        assert (await send(quick, "json", f"/account/{then}", **fields)).status == 204
        held.go_on.set()
        assert (await begun).status in (401, 409)
        assert await who(slow) is None
        assert await who(quick) == ("ann" if then == "password" else None)


async def test_a_login_just_before_a_deletion_is_signed_out_by_it(site: Site, ann: Visitor) -> None:
    """Who signs in after the sessions were ended and before the account is gone is out as well."""
    async with Visitor(site.url) as late:
        await ann.sign_up("ann")
        held = Held(site.services.accounts, "delete")
        deletion = asyncio.ensure_future(send(ann, "json", "/account/delete", password=PASSWORD))
        await asyncio.wait_for(held.reached.wait(), 5)
        await late.sign_in("ann")
        held.go_on.set()
        assert (await deletion).status == 204
        assert await who(late) is None


async def test_a_second_deletion_is_told_that_the_account_is_gone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The second of two requests is not told that the account is still there; one line tells it."""
    caplog.set_level("INFO", logger="latchkey.audit")
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        held = Held(site.services.accounts, "delete")
        first = asyncio.ensure_future(send(ann, "json", "/account/delete", password=PASSWORD))
        await asyncio.wait_for(held.reached.wait(), 5)
        accounts = site.services.accounts
        assert await accounts.delete(await accounts.prove("ann", PASSWORD))
        held.go_on.set()
        assert (await first).status == 204
    assert "deletion" not in caplog.text


async def test_a_new_owner_of_a_name_does_not_share_it(tmp_path: Path) -> None:
    """A session that an earlier account has left behind sees and ends nothing of the new one."""
    async with serve(tmp_path) as site, Visitor(site.url) as old, Visitor(site.url) as new:
        await old.sign_up("ann")
        before = await account_id(site, "ann")
        delete_row(tmp_path, "ann")
        await new.sign_up("ann", "somebody else's")
        assert await account_id(site, "ann") != before
        assert ids((await ask(old, "/account")).text) == [id_of(old)]
        assert ids((await ask(new, "/account")).text) == [id_of(new)]
        assert (await send(old, "json", "/account/sessions/revoke-others")).status == 204
        assert await who(new) == "ann"


async def test_another_spelling_is_another_account(tmp_path: Path) -> None:
    """A session that outlived its account has no power over one of nearly the same name."""
    async with serve(tmp_path) as site, Visitor(site.url) as old:
        await old.sign_up("Ann")
        accounts = site.services.accounts
        delete_row(tmp_path, "ann")
        await accounts.register("ANN", PASSWORD)
        answer = await send(old, "json", "/account/delete", password=PASSWORD)
        assert answer.status == 403
        assert await accounts.verify("ann", PASSWORD) == "ANN"


async def test_a_second_factor_that_is_replaced_during_a_sign_in_is_asked_for_at_the_next(
    tmp_path: Path,
) -> None:
    """The device that was to be trusted for the old one is not trusted for the new one."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as ann:
        services, user_id = here.site.services, await account_id(here.site, "Ann")
        await step_one(ann)
        held = Held(services.trusted_devices, "trust")
        login = asyncio.ensure_future(step_two(ann, here.code(), trust="yes"))
        await asyncio.wait_for(held.reached.wait(), 5)
        await services.totp.remove(user_id)
        await enrol(here.site, "Ann")
        held.go_on.set()
        assert (await login).status == 204
        await ann.sign_out()
        assert (await step_one(ann)).status == 401
