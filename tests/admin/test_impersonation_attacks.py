"""Ways to escape the end of an administrator's session as another user, or to do too much in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.impersonation import MAX_AGE
from app.testing import PASSWORD
from app.testing.visitor import PAGE
from tests.handlers.site import MODULES
from tests.support.accounts import account_id
from tests.support.admins import (
    acting,
    administrator,
    disable,
    each_place,
    sign_in_as,
    stop,
    take_roles,
    two_places,
)
from tests.support.browsers import ended, session_id
from tests.support.clock import Clock
from tests.support.demo.session import BaseHandler
from tests.support.devices import NEW
from tests.support.fork import fork
from tests.support.forms import each_kind, known, send, who
from tests.support.postgres import Postgres
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

ADMIN = "handlers.admin"


@each_kind
async def test_only_administrators_sign_in_as_others(
    site: Site, visitor: Visitor, ann: Visitor, kind: str
) -> None:
    """403 for a user; a visitor is asked to sign in."""
    await known(site, "eve")
    eve = await account_id(site, "eve")
    assert (await sign_in_as(visitor, eve, kind)).status == (303 if kind == "form" else 401)
    await ann.sign_up("ann")
    answer = await sign_in_as(ann, eve, kind)
    assert (answer.status, answer.error) == (
        403,
        "Only an administrator may sign in as another user.",
    )
    assert await who(ann) == "ann"


async def test_nobody_signs_in_as_an_administrator(site: Site, visitor: Visitor) -> None:
    """Neither as another one nor as themself; nor as an account that there is not."""
    root = await administrator(site, visitor)
    await known(site, "boss")
    boss = await account_id(site, "boss")
    await site.services.roles.set(boss, add=["admin"])
    for id in (boss, root):
        answer = await sign_in_as(visitor, id)
        assert answer.status == 403
        assert "Nobody may sign in as an administrator." in answer.error
    for id in ("u:" + 32 * "0", "x", "%00", "ann"):
        answer = await sign_in_as(visitor, id)
        assert (answer.status, answer.error) == (403, "This account does not exist any more.")
    assert await who(visitor) == "root"


async def test_a_disabled_account_is_nobodys(site: Site, visitor: Visitor) -> None:
    await administrator(site, visitor)
    await known(site, "ann")
    user = await account_id(site, "ann")
    await disable(site, user)
    answer = await sign_in_as(visitor, user)
    assert answer.status == 403
    assert "disabled" in answer.error
    assert await who(visitor) == "root"


async def test_it_is_not_nested(site: Site, visitor: Visitor) -> None:
    """From the session of another user there is no way to a third one."""
    await acting(site, visitor)
    await known(site, "eve")
    answer = await sign_in_as(visitor, await account_id(site, "eve"))
    assert answer.status == 403
    assert "you have signed in as somebody else" in answer.error
    assert await who(visitor) == "ann"


@each_kind
@pytest.mark.parametrize("path", ["/login", "/register"])
async def test_signing_in_is_refused_meanwhile(
    site: Site, visitor: Visitor, kind: str, path: str
) -> None:
    """Even as the same user with the right password: the session would have no end any more."""
    await acting(site, visitor)
    for name in ("ann", "root") if path == "/login" else ("new",):
        answer = await send(visitor, kind, path, username=name, password=PASSWORD)
        assert answer.status == 403, answer.text
        assert "You are signed in as ann, as administrator root." in answer.error
        assert (await visitor.get("/session")).json()["actor"] == "root"
    assert await site.services.accounts.by_name("new") is None


@pytest.mark.asvs("7.5.1")
@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_what_is_the_users_alone_is_refused(
    site: Site, visitor: Visitor, kind: str, path: str
) -> None:
    """Even with the right password."""
    await acting(site, visitor)
    answer = await send(visitor, kind, path, password=PASSWORD, new_password=NEW)
    assert answer.status == 403, answer.text
    assert "Only the user may do this" in answer.text
    assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


REFUSED = (
    *("GET /reauthenticate", "POST /reauthenticate", "POST /account/password"),
    *("GET /account/sign-in/totp", "POST /account/sign-in/totp"),
    *("GET /account/sign-in/totp/confirm", "POST /account/sign-in/totp/confirm"),
    *("POST /account/sign-in/totp/off", "POST /account/sign-in/trusted-devices/forget"),
    *("POST /account/recovery/codes", "POST /account/recovery/address"),
    *("POST /account/recovery/address/remove", "GET /account/data", "GET /account/data/download"),
    *("POST /account/delete", "GET /admin", "GET /admin/accounts", "GET /admin/accounts/ID"),
    *("GET /admin/accounts/ID/state", "POST /admin/accounts/ID/roles"),
    *("POST /admin/accounts/ID/disable", "POST /admin/accounts/ID/sign-in-as"),
)


async def test_no_stock_page_lets_an_administrator_be_the_user(tmp_path: Path) -> None:
    """Credentials, recovery, personal data, deletion and the operator's pages: 403."""
    async with serve(tmp_path, modules=MODULES) as site, Visitor(site.url) as root:
        user, _ = await acting(site, root)
        for each in REFUSED:
            method, path = each.replace("ID", user).split()
            body = {"password": PASSWORD} if method == "POST" else None
            answer = await root.request(
                method, path, headers={"Accept": "application/json"}, json=body
            )
            assert answer.status == 403, each
        assert await who(root) == "ann"


# -- regeneration --


class Regenerate(BaseHandler):
    """A page of a fork that gives the session a new id, with a proof or without."""

    async def post(self) -> None:
        async def proven() -> bool:
            return True

        confirm = proven if self.get_query_argument("proof", "") else None
        self.write({"done": await self.regenerate(confirm=confirm)})


@pytest.mark.parametrize("query", ["", "?proof=1"])
async def test_a_new_id_keeps_the_administrator_and_the_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """And the session can still be stopped, and ends with the administrator's."""
    clock = Clock()
    modules = fork(monkeypatch, routes=[(r"/regenerate", Regenerate)])
    async with (
        serve(tmp_path, modules=(*modules, ADMIN, "handlers.signed_in"), clock=clock) as site,
        Visitor(site.url) as root,
    ):
        begin = clock.now
        user, admin = await acting(site, root)
        clock.now += MAX_AGE / 2
        before = root.cookie
        assert (await root.post("/regenerate" + query)).json() == {"done": True}
        assert root.cookie != before
        answer = (await root.get("/session")).json()
        assert answer["actor"] == "root"
        assert answer["expires_at_latest"] == int(begin + MAX_AGE)
        assert len(await site.services.sessions.of_user(admin)) == 1, "the own session goes on"
        await stop(root)
        assert await who(root) == "root"
        await sign_in_as(root, user)
        await root.post("/regenerate" + query)
        await site.services.sessions.end_user(admin)
        assert await site.services.sessions.of_user(user) == []
        assert await who(root) is None


# -- stop --


async def test_stopping_twice_does_nothing(site: Site, visitor: Visitor) -> None:
    """Nor does it for a user, a visitor, and the cookie from before."""
    await acting(site, visitor)
    old = visitor.cookie
    await stop(visitor)
    for _ in range(2):
        assert (await stop(visitor)).status == 204
        assert await who(visitor) == "root"
    async with Visitor(site.url, Cookie=old) as thief:
        assert (await stop(thief)).status == 204
        assert thief.cookies == {}
        assert await who(thief) is None
    assert await who(visitor) == "root"


@each_place
async def test_two_tabs_that_stop_at_once_leave_one_session(
    tmp_path: Path, kind: str, postgres: Postgres
) -> None:
    """One answer has the cookie, and the other one does not touch it."""
    async with two_places(tmp_path, kind, postgres) as (here, there), Visitor(here.url) as root:
        user, admin = await acting(here, root)
        cookie = {"Cookie": root.cookie}

        async def tab(site: Site) -> list[str]:
            async with Visitor(site.url, **cookie) as other:
                answer = await other.post("/impersonation/stop")
                assert answer.status == 204
                return list(answer.headers.getall("Set-Cookie", []))

        for _ in range(10):
            answers = await asyncio.gather(*(tab(site) for site in (here, there, here, there)))
            given = [value for values in answers for value in values]
            assert len(given) == 1, given
            left = await here.services.sessions.of_user(admin)
            assert [each.id for each in left] == [session_id(given[0].partition(";")[0])]
            await until(lambda: _none(here, user))
            cookie = {"Cookie": given[0].partition(";")[0]}
            async with Visitor(here.url, **cookie) as again:
                answer = await sign_in_as(again, user)
                assert answer.status == 204, answer.text
                cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def _none(site: Site, user: str) -> bool:
    return bool(await site.services.sessions.of_user(user) == [])


async def test_two_tabs_that_begin_at_once_leave_one_session(site: Site, visitor: Visitor) -> None:
    """One answer has the cookie; the other one does not take it away."""
    root = await administrator(site, visitor)
    await known(site, "ann", "eve")
    users = [await account_id(site, name) for name in ("ann", "eve")]

    async def tab(user: str) -> list[str]:
        async with Visitor(site.url, Cookie=visitor.cookie) as other:
            answer = await other.post(f"/admin/accounts/{user}/sign-in-as", headers=PAGE)
            assert answer.status == 303
            return list(answer.headers.getall("Set-Cookie", []))

    given = [value for values in await asyncio.gather(*map(tab, users * 2)) for value in values]
    assert len(given) == 1, given
    assert len(await site.services.sessions.of_user(root)) == 1


async def test_the_cookie_from_before_is_worth_nothing(site: Site, visitor: Visitor) -> None:
    """A copy of the administrator's cookie does not work beside the other session."""
    await administrator(site, visitor)
    await known(site, "ann")
    old = visitor.cookie
    await sign_in_as(visitor, await account_id(site, "ann"))
    async with Visitor(site.url, Cookie=old) as thief:
        assert await who(thief) is None
        assert (await sign_in_as(thief, await account_id(site, "ann"))).status == 401


async def test_an_administrator_who_lost_the_role_gets_no_session_back(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even between the check of the request and the stop."""
    _, root = await acting(site, visitor)
    may_go_on = site.services.impersonation.may_go_on

    async def checked(session: Any) -> bool:
        result = bool(await may_go_on(session))
        monkeypatch.undo()
        await take_roles(site, root)
        return result

    monkeypatch.setattr(site.services.impersonation, "may_go_on", checked)
    await stop(visitor)
    assert await who(visitor) is None
    assert await site.services.sessions.of_user(root) == []


async def test_a_role_that_is_lost_during_the_sign_in_ends_it(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes the role finds no session to end yet; so the sign-in asks once more."""
    root = await administrator(site, visitor)
    await known(site, "ann")
    user, create = await account_id(site, "ann"), site.services.sessions.create

    async def created(**options: Any) -> Any:
        await site.services.roles.set(root, remove=["admin"])
        return await create(**options)

    monkeypatch.setattr(site.services.sessions, "create", created)
    answer = await sign_in_as(visitor, user)
    assert answer.status == 403
    assert "was changed just now" in answer.error
    assert await who(visitor) is None
    assert await site.services.sessions.of_user(user) == []


async def test_an_event_under_way_does_not_keep_a_socket(site: Site, visitor: Visitor) -> None:
    """A socket that goes on to send is told of the end, and its edits change nothing."""
    _, root = await acting(site, visitor)
    socket = await visitor.socket("websocket")
    assert await socket.call("incr") == 1
    events = [asyncio.ensure_future(socket.call("incr")) for _ in range(50)]
    await site.services.roles.set(root, remove=["admin"])
    await asyncio.wait(events)
    await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
    for event in events:
        event.exception()
    assert await who(visitor) is None
