"""`services.sign_in` and the hooks of accounts, as a fork uses them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tornado.web import HTTPError

from app.accounts import Account, Identity
from app.services import Services
from app.sessions.session import Session
from tests.support.accounts import account_id, add, opened_at
from tests.support.clock import Clock
from tests.support.demo.session import BaseHandler
from tests.support.devices import NEW
from tests.support.fork import fork
from tests.support.forms import PASSWORD, ask, each_kind, send, who
from tests.support.second_factors import enrol
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

ISSUER = "https://id.example.com"
BANNED = "You are banned: 100% of your messages were spam."


class ProxyHandler(BaseHandler):
    """Signs in whom a proxy names, and makes an account at the first time."""

    async def post(self) -> None:
        subject = self.request.headers.get("X-Subject")
        if not subject:
            raise HTTPError(401, "the proxy names no user")
        accounts, identity = self.services.accounts, Identity(ISSUER, subject)
        account = await accounts.by_identity(identity)
        if account is None:
            account = await accounts.add(f"user {subject}", identity=identity)
        await self.services.sign_in(self, account, method="proxy")
        self.write({"user_id": self.session.user_id})


class NameHandler(BaseHandler):
    """Signs in a name, as forks did before accounts had ids."""

    async def post(self) -> None:
        self.write({"signed in": await self.sign_in(self.get_argument("name"))})


ROUTES = [(r"/proxy", ProxyHandler), (r"/name", NameHandler)]


def audited(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """Return the lines of an event in the audit log."""
    lines = [record.getMessage() for record in caplog.records if record.name == "latchkey.audit"]
    return [line for line in lines if line.startswith(event + " ")]


@pytest.fixture(autouse=True)
def _audit_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "latchkey.audit")


async def test_an_own_way_of_signing_in_does_what_the_password_page_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new id, the visitor's data, sockets told, the limit of sessions, `on_login`, one line."""
    heard: list[tuple[str | None, str | None]] = []

    def note(session: Session[Any]) -> None:
        heard.append((session.user, session.user_id))

    modules = fork(monkeypatch, routes=ROUTES, on_login=note)
    async with (
        serve(tmp_path, modules=modules, max_sessions_per_user=1) as site,
        Visitor(site.url, **{"X-Subject": "7"}) as here,
        Visitor(site.url, **{"X-Subject": "7"}) as there,
    ):
        await here.incr()
        old, socket = here.cookie, await here.socket("websocket")
        answer = await here.post("/proxy")
        user_id = answer.json()["user_id"]
        assert here.cookie != old
        assert await socket.ended() == "regenerated"
        assert await here.incr() == 2
        assert await who(here) == "user 7"
        assert (await there.post("/proxy")).json()["user_id"] == user_id
        assert await who(here) is None
        assert heard == [("user 7", user_id)] * 2
        who_and_how = f"user='user 7' address='127.0.0.1' user_id={user_id!r} method='proxy'"
        assert audited(caplog, "sign-in") == [f"sign-in {who_and_how}"] * 2


@each_kind
@pytest.mark.parametrize("waits", [False, True])
async def test_may_sign_in_refuses_with_its_sentence_on_the_password_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    waits: bool,
) -> None:
    """403, and the session of the browser is as it was; other accounts sign in."""
    asked: list[Account] = []

    def refuse(account: Account) -> str | None:
        asked.append(account)
        return BANNED if account.name == "Eve" else None

    async def refuse_later(account: Account) -> str | None:
        return refuse(account)

    modules = fork(monkeypatch, may_sign_in=refuse_later if waits else refuse)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as eve:
        await site.services.accounts.register("Eve", PASSWORD)
        await eve.incr()
        before = eve.cookie
        answer = await send(eve, kind, "/login", username="EVE", password=PASSWORD)
        assert answer.status == 403
        assert BANNED in answer.text
        assert eve.cookie == before
        assert await eve.incr() == 2
        user_id = await account_id(site, "eve")
        assert [account.id for account in asked] == [user_id]
        (line,) = audited(caplog, "failure")
        assert f"user='Eve' address='127.0.0.1' reason='refused: {BANNED}'" in line
        assert f"user_id={user_id!r} method='password'" in line
        await eve.sign_up("ann")
        assert await who(eve) == "ann"


async def test_may_sign_in_is_asked_by_every_way_of_signing_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registration makes the account and signs nobody in; an own way answers 403."""
    modules = fork(monkeypatch, routes=ROUTES, may_sign_in=lambda account: "Confirm it first.")
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url, **{"X-Subject": "7"}) as visitor,
    ):
        fields = {"username": "ann", "password": PASSWORD}
        requests = (
            await visitor.post("/register", json=fields),
            await visitor.post("/login", json=fields),
            await visitor.post("/proxy", headers={"Accept": "application/json"}),
            await visitor.post("/name?name=ldap", headers={"Accept": "application/json"}),
        )
        for answer in requests:
            assert (answer.status, answer.json()) == (403, {"error": "Confirm it first."})
        page = await visitor.submit("/proxy", {})
        assert page.status == 403
        assert "Confirm it first." in page.text
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"
        assert visitor.cookie == ""


async def test_a_name_that_is_the_id_of_an_account_signs_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users who choose their names elsewhere get the rows of no account, also not a deleted one."""
    async with (
        serve(tmp_path, modules=fork(monkeypatch, routes=ROUTES)) as site,
        Visitor(site.url) as eve,
    ):
        accounts = site.services.accounts
        ann, bob = await accounts.add("ann"), await accounts.add("bob")
        assert await accounts.remove(bob)
        for name in (ann.id, bob.id):
            answer = await eve.post(f"/name?name={name}", headers={"Accept": "application/json"})
            assert answer.status == 403
            assert "is an account id, not a user name" in answer.json()["error"]
        assert await who(eve) is None
        assert await site.services.sessions.of_user(ann.id) == []


async def test_a_ban_during_a_sign_in_leaves_no_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook is asked again after the session was stored, since a ban ends those that it sees."""
    answers = [None, BANNED]
    modules = fork(monkeypatch, may_sign_in=lambda account: answers.pop(0))
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await site.services.accounts.register("ann", PASSWORD)
        answer = await send(visitor, "json", "/login", username="ann", password=PASSWORD)
        assert (answer.status, answer.json()) == (403, {"error": BANNED})
        assert visitor.cookie == ""
        assert await site.services.sessions.of_user(await account_id(site, "ann")) == []
        assert answers == []


async def test_a_hook_that_fails_signs_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error is no permission."""

    def fail(account: Account) -> str | None:
        raise RuntimeError("injected")

    async with (
        serve(tmp_path, modules=fork(monkeypatch, may_sign_in=fail)) as site,
        Visitor(site.url) as visitor,
    ):
        fields = {"username": "ann", "password": PASSWORD}
        assert (await visitor.post("/register", json=fields)).status == 500
        assert visitor.cookie == ""


async def test_an_account_that_was_deleted_meanwhile_signs_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An own way may hold an account that is gone."""
    held: list[Account] = []

    class Stale(BaseHandler):
        async def post(self) -> None:
            await self.services.sign_in(self, held[0], method="own")

    modules = fork(monkeypatch, routes=[(r"/stale", Stale)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        held.append(await site.services.accounts.add("ann"))
        assert await site.services.accounts.remove(held[0])
        answer = await visitor.post("/stale", headers={"Accept": "application/json"})
        assert (answer.status, answer.json()) == (
            403,
            {"error": "This account does not exist any more."},
        )
        assert visitor.cookie == ""
        assert await site.services.sessions.of_user(held[0].id) == []


async def test_a_fork_signs_in_a_name_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account of that name, or a user of whom there is no account, whose id is the name."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await site.services.accounts.register("Ann", PASSWORD)
        for name, user, user_id in (
            ("ann", "Ann", await account_id(site, "ann")),
            ("oidc:ann", "oidc:ann", "oidc:ann"),
        ):
            assert (await visitor.post(f"/name?name={name}")).json() == {"signed in": True}
            (session,) = await site.services.sessions.of_user(user_id)
            assert (session.user, session.user_id) == (user, user_id)


async def test_hooks_hear_of_each_account_that_is_created_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registered, made by the fork, deleted on the page or by the fork; each once, in order."""
    heard: list[tuple[str, str]] = []

    async def created(account: Account) -> None:
        heard.append(("created", account.id))

    modules = fork(
        monkeypatch,
        routes=ROUTES,
        on_account_created=created,
        on_login=lambda session: heard.append(("login", str(session.user_id))),
        on_account_deleted=lambda account: heard.append(("deleted", account.id)),
    )
    modules = (*modules, "handlers.account")
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        first = await account_id(site, "ann")
        await ann.post("/logout")
        await ann.sign_in("ann")
        assert (await send(ann, "json", "/account/delete", password=PASSWORD)).status == 204
        second = await site.services.accounts.add("ann")
        assert await site.services.accounts.remove(second)
        assert heard == [
            *(("created", first), ("login", first), ("login", first), ("deleted", first)),
            *(("created", second.id), ("deleted", second.id)),
        ]


async def test_hooks_of_accounts_get_the_services_if_they_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, or because they cannot be called without; another parameter is left alone."""
    heard: list[tuple[str, Any]] = []

    async def may_sign_in(account: Account, services: Services) -> str | None:
        heard.append(("may", services))
        return None

    def on_account_created(account: Account, services: Services | None = None) -> None:
        heard.append(("created", services))

    modules = fork(
        monkeypatch,
        may_sign_in=may_sign_in,
        on_account_created=on_account_created,
        on_account_deleted=lambda account, parts: heard.append(("deleted", parts)),
    )
    other = fork(
        monkeypatch, on_account_created=lambda account, why="new": heard.append(("other", why))
    )
    async with serve(tmp_path, modules=(*modules, other[-1])) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        account = await site.services.accounts.by_name("ann")
        assert await site.services.accounts.remove(account)
        services = site.services
        assert heard == [
            *(("created", services), ("other", "new")),
            *(("may", services), ("may", services), ("deleted", services)),
        ]


@pytest.mark.limit(60)
async def test_an_account_of_the_command_line_is_announced_at_its_first_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, in the server and before `on_login`, because the command runs no hooks."""
    heard: list[str] = []
    modules = fork(
        monkeypatch,
        on_account_created=lambda account: heard.append(account.name),
        on_login=lambda session: heard.append("login"),
    )
    code, _, error = await add("add", "ann", "--password-stdin", f"--data-dir={tmp_path / 'data'}")
    assert (code, error) == (0, "")
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await visitor.sign_in("ann")
        await visitor.sign_in("ann")
        assert heard == ["ann", "login", "login"]


async def test_a_new_account_inherits_nothing_of_a_deleted_one_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sessions nor device cookies nor rows by id, however the name is spelt."""
    modules = (*fork(monkeypatch, routes=ROUTES), "handlers.account")
    async with (
        serve(tmp_path, modules=modules, failed_logins_per_minute=2) as site,
        Visitor(site.url) as old,
        Visitor(site.url) as phone,
        Visitor(site.url) as new,
        Visitor(site.url) as attacker,
    ):
        await old.sign_up("Zoë")
        await phone.sign_in("ZOE\u0308")
        before, socket = await account_id(site, "zoë"), await phone.socket("websocket")
        assert (await send(old, "json", "/account/delete", password=PASSWORD)).status == 204
        assert await socket.ended() == "revoked"
        await new.sign_up("zoe\u0308")
        after = await account_id(site, "Zoë")
        assert before != after
        assert await site.services.accounts.by_id(before) is None
        assert await who(phone) is None
        assert await who(old) is None
        (session,) = await site.services.sessions.of_user(after)
        assert (session.user, session.user_id) == ("zoë", after)
        # the browser of the old owner is no known device: it has no tries of its own
        for _ in range(3):
            await send(attacker, "json", "/login", username="zoë", password="wrong wrong")
        answer = await send(old, "json", "/login", username="zoë", password="wrong wrong")
        assert answer.status == 429


async def test_an_account_without_a_password_is_told_so_and_can_delete_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a recent sign-in, which stands for the password; it has none to change."""
    modules = (*fork(monkeypatch, routes=ROUTES), "handlers.reauthenticate", "handlers.account")
    clock = Clock()
    async with (
        serve(tmp_path, modules=modules, clock=clock) as site,
        Visitor(site.url, **{"X-Subject": "7"}) as visitor,
    ):
        await visitor.post("/proxy")
        answer = await send(visitor, "json", "/account/password", password="", new_password=NEW)
        assert answer.status == 409
        assert "has no password" in answer.text
        assert 'name="password"' not in (await ask(visitor, "/account/delete")).text
        clock.now += 601
        assert "Before you delete" in (await ask(visitor, "/account/delete")).text
        answer = await send(visitor, "json", "/account/delete")
        assert (answer.status, answer.error) == (403, "reauthenticate")
        assert await who(visitor) == "user 7"
        await visitor.post("/proxy")
        assert (await send(visitor, "form", "/account/delete")).status == 303
        assert await who(visitor) is None
        assert await site.services.accounts.by_name("user 7") is None


async def test_a_deletion_by_the_fork_ends_the_sessions_of_the_account(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of others stay."""
    async with Visitor(site.url) as bob:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        socket = await ann.socket("polling")
        accounts = site.services.accounts
        account = await accounts.by_name("ANN")
        assert await accounts.remove(account)
        assert await socket.ended() == "revoked"
        assert (await who(ann), await who(bob)) == (None, "bob")


async def test_an_announcement_that_was_cut_short_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies between the commit and the hook has told nobody."""
    heard: list[str] = []
    modules = fork(monkeypatch, on_account_created=lambda account: heard.append(account.name))
    async with serve(tmp_path, modules=modules) as site:
        database = site.services.database
    async with opened_at(database.settings) as accounts:
        accounts.on_created.append(lambda account: None)
        monkeypatch.setattr(accounts, "announce", _die)
        with pytest.raises(ConnectionError):
            await accounts.register("ann", PASSWORD)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await visitor.sign_in("ann")
        await until(lambda: heard == ["ann"])


async def _die(account: Account) -> Account:
    raise ConnectionError


async def test_an_authenticator_of_a_fork_is_asked_for_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it proves is enough, also for an account with a second factor."""
    clock = Clock()
    modules = fork(monkeypatch, routes=ROUTES)
    async with (
        serve(tmp_path, modules=modules, clock=clock) as site,
        Visitor(site.url) as ann,
    ):
        await ann.post("/proxy", headers={"X-Subject": "1"})
        await ann.sign_out()
        await enrol(site, "user 1")
        assert (await ann.post("/proxy", headers={"X-Subject": "1"})).status == 200
        assert await who(ann) == "user 1"


async def test_a_hook_hears_of_accounts_that_are_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the id and the services, whatever it calls its parameters."""
    heard: list[tuple[str, Services]] = []
    modules = fork(monkeypatch, on_account_changed=lambda id, parts: heard.append((id, parts)))
    async with serve(tmp_path, modules=modules) as site:
        account = await site.services.accounts.add("ann")
        assert heard == []
        await site.services.roles.set(account.id, add=["moderator"])
        await site.services.accounts.remove(account)
        assert heard == [(account.id, site.services)] * 2
