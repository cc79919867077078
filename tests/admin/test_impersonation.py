"""An administrator signs in as another user, and stops."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from app.presence import local_presence
from app.sessions.session import Session
from app.stores import public_id
from app.testing import PASSWORD
from tests.support.accounts import account_id
from tests.support.admins import acting, administrator, sign_in_as, stop
from tests.support.browsers import ended, joined, session_id
from tests.support.demo.session import BaseNamespace
from tests.support.devices import id_of, ids, shown, text, watching
from tests.support.fork import fork
from tests.support.forms import ask, each_kind, known, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

ADMIN = "handlers.admin"


async def asked(visitor: Visitor) -> Any:
    return (await visitor.get("/session")).json()


@each_kind
async def test_an_administrator_signs_in_as_a_user_and_stops(
    site: Site, visitor: Visitor, kind: str
) -> None:
    """The browser has a session of that user, then its own one again, with its data."""
    await administrator(site, visitor)
    await known(site, "ann")
    user = await account_id(site, "ann")
    await visitor.incr()
    answer = await sign_in_as(visitor, user, kind)
    assert answer.status == (303 if kind == "form" else 204), answer.text
    session = await asked(visitor)
    assert (session["user"], session["user_id"]) == ("ann", user)
    assert session["actor"] == "root"
    assert await visitor.incr() == 1, "the data of another user is not seen"
    answer = await stop(visitor, kind)
    assert answer.status == (303 if kind == "form" else 204), answer.text
    if kind == "form":
        assert answer.headers["Location"] == f"/admin/accounts/{user}?done=stopped"
    session = await asked(visitor)
    assert (session["user"], session["actor"]) == ("root", None)
    assert await visitor.incr() == 2


async def test_every_page_says_who_is_signed_in_as_whom(site: Site, visitor: Visitor) -> None:
    """With a button to stop; not before, and not after."""
    await acting(site, visitor)
    for path in ("/", "/account", "/login", "/nowhere"):
        page = (await ask(visitor, path)).text
        assert "You are signed in as ann , as administrator root ." in text(page), path
        assert 'action="/impersonation/stop"' in page
    await stop(visitor)
    for path in ("/", "/account", "/login", "/nowhere"):
        assert "as administrator" not in (await ask(visitor, path)).text


@pytest.mark.asvs("7.2.4")
async def test_each_session_has_an_id_of_its_own(site: Site, visitor: Visitor) -> None:
    """The cookies from before are worth nothing at any time, nor is the one of the user's page."""
    root = await administrator(site, visitor)
    await known(site, "ann")
    cookies = [visitor.cookie]
    await sign_in_as(visitor, await account_id(site, "ann"))
    cookies.append(visitor.cookie)
    (parked,) = await site.services.sessions.of_user(root)
    await stop(visitor)
    cookies.append(visitor.cookie)
    ids = [*map(session_id, cookies), parked.id]
    assert len({*ids}) == 4
    living = [await site.services.sessions.load(id) is not None for id in ids]
    assert living == [False, False, True, False]


async def test_sockets_of_the_browser_follow_it(site: Site, visitor: Visitor) -> None:
    """They are told `regenerated`, and come back as the user, and as the administrator again."""
    await administrator(site, visitor)
    await known(site, "ann")
    socket = await visitor.socket("websocket", reconnection=True)
    assert await socket.call("whoami") == "root"
    for times, (change, name) in enumerate(
        [(sign_in_as(visitor, await account_id(site, "ann")), "ann"), (stop(visitor), "root")], 1
    ):
        await change
        await until(
            lambda times=times: (
                ended(socket) == [{"reason": "regenerated", "reconnect": True}] * times
            )
        )
        await until(lambda times=times: socket.connects == times + 1)
        assert await socket.call("whoami") == name


async def test_the_user_sees_it_among_the_devices(
    site: Site, visitor: Visitor, ann: Visitor
) -> None:
    """With the name of the administrator and nothing of their browser, at once, and may end it."""
    await ann.sign_up("ann")
    socket = await watching(ann)
    await shown(socket, lambda rows: len(rows) == 1)
    await administrator(site, visitor)
    await sign_in_as(visitor, await account_id(site, "ann"))
    there = await joined(visitor, "websocket")
    rows = await shown(socket, lambda rows: len(rows) == 2 and rows[1]["connections"])
    assert [row["actor"] for row in rows] == ["", "root"]
    assert (rows[1]["browser"], rows[1]["system"], rows[1]["address"]) == ("", "", "")
    page = (await ask(ann, "/account")).text
    assert "Administrator root" in text(page)
    assert "An administrator of this site signed in as you." in text(page)
    assert await socket.call("revoke", rows[1]["id"], namespace="/account") is True
    await until(lambda: ended(there) == [{"reason": "revoked", "reconnect": True}])
    assert await who(visitor) is None
    await shown(socket, lambda rows: len(rows) == 1)


async def test_it_does_not_end_the_sessions_of_the_user(tmp_path: Path) -> None:
    """Though there may be one at a time."""
    async with (
        serve(tmp_path, max_sessions_per_user=1) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as root,
    ):
        await ann.sign_up("ann")
        await administrator(site, root)
        await sign_in_as(root, await account_id(site, "ann"))
        assert (await who(ann), await who(root)) == ("ann", "ann")


async def test_the_audit_log_names_both(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """In each line of the session."""
    caplog.set_level(logging.INFO, logger="latchkey.audit")
    user, root = await acting(site, visitor)
    await stop(visitor)
    who = f"user='ann' address='127.0.0.1' {{}}user_id='{user}'{{}} actor='root' actor_id='{root}'"
    method = " method='impersonation'"
    wanted = [
        "sign-in " + who.format("", method),
        "end " + who.format("reason='regenerated' ", ""),
    ]

    def lines() -> list[str]:
        return [line for each in caplog.records if "actor=" in (line := each.getMessage())]

    await until(lambda: lines() == wanted or len(lines()) > 2)
    assert lines() == wanted


# -- hooks --


class Lobby(BaseNamespace):
    """Tells of users who join."""

    async def on_user_join(self, user_id: str) -> None:
        await self.emit("joined", user_id)

    async def on_users(self, sid: str) -> list[str]:
        return sorted(await self.services.presence.users(self.namespace))


async def test_the_hook_on_login_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No date of a latest sign-in and no greeting is due to an administrator."""
    told: list[str | None] = []

    def greet(session: Session[Any]) -> None:
        told.append(session.user)

    modules = fork(monkeypatch, on_login=greet)
    async with serve(tmp_path, modules=(*modules, ADMIN)) as site, Visitor(site.url) as root:
        await acting(site, root)
        await stop(root)
        assert told == ["root"]


@pytest.mark.asvs("7.4.2")
async def test_the_hooks_may_sign_in_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom a fork has banned, an administrator cannot sign in as; nor come back if banned."""
    banned = {"eve"}

    def check(account: Any) -> str | None:
        return "You are banned." if account.name in banned else None

    modules = fork(monkeypatch, may_sign_in=check)
    async with serve(tmp_path, modules=(*modules, ADMIN)) as site, Visitor(site.url) as root:
        await acting(site, root)
        await stop(root)
        await known(site, "eve")
        answer = await sign_in_as(root, await account_id(site, "eve"))
        assert (answer.status, answer.error) == (403, "You are banned.")
        assert await who(root) == "root"
        await sign_in_as(root, await account_id(site, "ann"))
        banned.add("root")
        await stop(root)
        assert await who(root) is None


async def test_the_user_is_not_present_by_an_administrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their sockets get what is sent to the user, but nobody is told that the user came."""
    monkeypatch.setattr(local_presence, "GRACE", 0.05)
    modules = fork(monkeypatch, namespaces=[("/lobby", Lobby)])
    async with (
        serve(tmp_path, modules=(*modules, ADMIN)) as site,
        Visitor(site.url) as root,
        Visitor(site.url) as ann,
    ):
        user, _ = await acting(site, root)
        socket = await root.socket("websocket", namespaces=("/lobby",))
        assert await socket.call("users") == []
        await site.services.emit_to_user(user, "news", "for ann", namespace="/lobby")
        assert await socket.event("news") == "for ann"
        await ann.sign_in("ann", PASSWORD)
        own = await ann.socket("websocket", namespaces=("/lobby",))
        assert await socket.event("joined") == user
        await own.close()
        await until(lambda: _empty(socket))


async def _empty(socket: Any) -> bool:
    return bool(await socket.call("users") == [])


async def test_the_device_list_of_both_shows_one_row_each(site: Site, visitor: Visitor) -> None:
    """The administrator's own session stays in their list, and can be ended there."""
    _, root = await acting(site, visitor)
    assert ids((await ask(visitor, "/account")).text) == [id_of(visitor)]
    rows = await site.services.devices.rows(root, [])
    assert [row.actor for row in rows.values()] == [""]


@pytest.mark.parametrize("which", ["revoke-others", "revoke-all", "ID/revoke"])
async def test_the_audit_log_names_an_administrator_who_ends_sessions_of_the_user(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    caplog.set_level(logging.INFO, logger="latchkey.audit")
    user, root = await acting(site, visitor)
    async with Visitor(site.url) as ann:
        await ann.sign_in("ann")
        id = public_id(session_id(ann.cookie))
        path = "/account/sessions/" + which.replace("ID", id)
        assert (await visitor.post(path, json={})).status == 204
        assert await who(ann) is None
    ends = [line for line in caplog.messages if line.startswith("session end user='ann'")]
    assert len(ends) == 1
    assert ends[0].endswith(f"user_id='{user}' actor='root' actor_id='{root}'")


async def test_the_audit_log_names_an_administrator_whose_tries_fail(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """A sign-in that is refused, and a wrong recovery code."""
    await acting(site, visitor)
    caplog.set_level(logging.INFO, logger="latchkey.audit")
    fields = {"username": "ann", "password": PASSWORD}
    assert (await visitor.post("/login", json=fields)).status == 403
    fields = {"username": "ann", "code": "wrong", "new_password": "a quite new password"}
    assert (await visitor.post("/recover/code", json=fields)).status == 401
    failures = [line for line in caplog.messages if line.startswith("failure user='ann'")]
    assert [" actor='root' " in line for line in failures] == [True, True]
