"""The operator's pages: who may open them, what they show, and each action by form and script."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from app.testing import PASSWORD, Answer
from tests.support.accounts import account_id
from tests.support.admins import administrator
from tests.support.browsers import ended, joined
from tests.support.clock import Clock
from tests.support.devices import id_of, text
from tests.support.forms import ask, each_kind, known, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

JSON = {"Accept": "application/json"}
EVIL = "<img src=x onerror=alert(1)>"


async def user(site: Site, name: str = "ann") -> str:
    """Make an account; return its id."""
    await known(site, name)
    return await account_id(site, name)


async def act(visitor: Visitor, kind: str, id: str, action: str, **fields: str) -> Answer:
    """Let an administrator do something with an account."""
    return await send(visitor, kind, f"/admin/accounts/{id}/{action}", **fields)


async def sure(visitor: Visitor, kind: str, id: str, action: str, **fields: str) -> Answer:
    """Do it and confirm."""
    return await act(visitor, kind, id, action, confirm="yes", **fields)


PATHS = ("/admin", "/admin/accounts", "/admin/accounts/ID", "/admin/accounts/ID/state")
ACTIONS: tuple[str, ...] = (
    "disable",
    "enable",
    "rename",
    "reset",
    "delete",
    "end-sessions",
    "end-session",
    "roles",
)
ACTIONS += ("two-step-off",)


async def test_only_administrators_may_open_them(site: Site, visitor: Visitor) -> None:
    """A visitor is asked to sign in, a user gets 403; nothing is told and nothing is done."""
    id = await user(site, "eve")
    pages = [("GET", path.replace("ID", id)) for path in PATHS]
    pages += [("POST", f"/admin/accounts/{id}/{action}") for action in ACTIONS]
    fields = {"confirm": "yes", "name": "mallory", "add": "admin"}
    for signed_in in (False, True):
        if signed_in:
            await visitor.sign_up("ann")
        for method, path in pages:
            body = None if method == "GET" else fields
            answer = await visitor.request(method, path, headers=JSON, json=body)
            assert answer.status == (403 if signed_in else 401), (method, path)
            assert "eve" not in answer.text
    account = await site.services.accounts.by_id(id)
    assert (account.name, account.disabled, account.roles) == ("eve", None, frozenset())


async def test_accounts_are_found_by_name_and_id(site: Site, visitor: Visitor) -> None:
    """In any spelling, and by a part of the name; each page has a link to the next one."""
    await administrator(site, visitor)
    for number in range(60):
        await site.services.accounts.add(f"user {number:02}")
    id = await user(site, "Ann")

    async def names(query: str) -> list[str]:
        answer = await visitor.get(f"/admin/accounts{query}", headers=JSON)
        return [row["name"] for row in answer.json()["accounts"]]

    assert await names("?search=ANN") == ["Ann"]
    assert await names(f"?search={id}") == ["Ann"]
    assert await names("?search=ser+1") == [f"user {number}" for number in range(10, 20)]
    assert await names("?search=%25") == []
    first = await ask(visitor, "/admin/accounts")
    assert "62 accounts" in text(first.text)
    (after,) = re.findall(r'href="/admin/accounts\?search=&amp;after=([^"]+)"', first.text)
    second = await names(f"?after={after}")
    assert len(await names("")) == 50
    assert second == [f"user {number}" for number in range(48, 60)]


@pytest.mark.asvs("3.2.2")
@pytest.mark.attack("A17")
async def test_names_of_markup_stay_text(site: Site, visitor: Visitor, ann: Visitor) -> None:
    """A name, a device and a search of markup are shown as they were typed."""
    await administrator(site, visitor)
    await site.services.accounts.register(EVIL, PASSWORD)
    id = await account_id(site, EVIL)
    for path in (f"/admin/accounts/{id}", "/admin/accounts", "/admin/accounts?search=%3Cimg"):
        page = (await ask(visitor, path)).text
        assert "&lt;img" in page
        assert "<img src=x" not in page


async def test_the_page_of_an_account_tells_all(site: Site, visitor: Visitor, ann: Visitor) -> None:
    """Facts, sessions with their connections, and what the audit log has; as JSON too."""
    await administrator(site, visitor)
    await ann.sign_up("ann")
    await joined(ann, "websocket")
    id = await account_id(site, "ann")
    page = text((await ask(visitor, f"/admin/accounts/{id}")).text)
    for words in ("may sign in", id, "Connected by websocket", "registration", "127.0.0.1"):
        assert words in page
    answer = (await visitor.get(f"/admin/accounts/{id}", headers=JSON)).json()
    assert answer["account"]["name"] == "ann"
    assert [row["id"] for row in answer["sessions"]] == [id_of(ann)]
    assert answer["sessions"][0]["connections"] == ["websocket"]
    assert [row["event"] for row in answer["events"]] == ["sign-in", "registration"]
    assert (await visitor.get("/admin/accounts/u:0", headers=JSON)).status == 404


# -- actions --


@pytest.mark.asvs("7.4.5")
@each_kind
async def test_one_session_is_ended(site: Site, visitor: Visitor, ann: Visitor, kind: str) -> None:
    """The others stay; one that has ended already is no error."""
    await administrator(site, visitor)
    await ann.sign_up("ann")
    id = await account_id(site, "ann")
    async with Visitor(site.url) as two:
        await two.sign_in("ann")
        socket = await joined(two, "websocket")
        for _ in range(2):
            answer = await act(visitor, kind, id, "end-session", session=id_of(two))
            assert answer.status == (303 if kind == "form" else 204)
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        assert (await who(ann), await who(two)) == ("ann", None)


@each_kind
async def test_a_user_is_renamed(site: Site, visitor: Visitor, ann: Visitor, kind: str) -> None:
    """Sessions end, since they show the old name; a name that is taken is refused."""
    await administrator(site, visitor)
    await ann.sign_up("ann")
    id = await account_id(site, "ann")
    answer = await act(visitor, kind, id, "rename", name="ROOT")
    assert answer.status == 422
    assert "taken" in answer.error
    assert await who(ann) == "ann"
    answer = await act(visitor, kind, id, "rename", name="anna")
    assert answer.status == (303 if kind == "form" else 204), answer.text
    assert await who(ann) is None
    await ann.sign_in("anna")


@each_kind
async def test_roles_are_given_and_taken(site: Site, visitor: Visitor, kind: str) -> None:
    """At once, but for the role admin, of which the page asks; what is no role is refused."""
    await administrator(site, visitor)
    id = await user(site)

    async def roles() -> set[str]:
        return set(await site.services.roles.of(id))

    answer = await act(visitor, kind, id, "roles", add="Moderator")
    assert answer.status == (303 if kind == "form" else 204), answer.text
    assert await roles() == {"moderator"}
    answer = await act(visitor, kind, id, "roles", add="no role!")
    assert answer.status == 422
    assert "is no name of a role" in answer.error
    await act(visitor, kind, id, "roles", remove="moderator")
    answer = await act(visitor, kind, id, "roles", add="admin")
    assert answer.status == (200 if kind == "form" else 409)
    assert "Give ann the role admin?" in answer.text
    assert await roles() == set()
    await sure(visitor, kind, id, "roles", add="admin")
    assert await roles() == {"admin"}


@pytest.mark.asvs("6.4.1")
async def test_a_link_for_a_new_password_is_shown_once(site: Site, visitor: Visitor) -> None:
    """In the answer that no cache keeps, never in an address or in a log."""
    await administrator(site, visitor)
    id = await user(site)
    page = await act(visitor, "form", id, "reset")
    (link,) = re.findall(r'id="link" type="text" value="([^"]+)"', page.text)
    assert "/reset" in link
    assert page.headers["Cache-Control"] == "no-store"
    answer = (await act(visitor, "json", id, "reset")).json()
    assert answer["link"] != link
    assert answer["seconds"] > 0
    token = link.partition("token=")[2]
    assert token not in (await ask(visitor, f"/admin/accounts/{id}")).text
    assert await site.services.one_time_links.peek(token, "reset") is None, "a new one kills it"


async def test_the_audit_log_names_the_administrator(
    site: Site, visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    """In the line of each action, with the address of their browser."""
    caplog.set_level(logging.INFO, logger="latchkey.audit")
    root = await administrator(site, visitor)
    id = await user(site)
    await act(visitor, "json", id, "roles", add="moderator")
    await sure(visitor, "json", id, "disable")
    await act(visitor, "json", id, "enable")
    await act(visitor, "json", id, "rename", name="anna")
    await act(visitor, "json", id, "reset")
    await sure(visitor, "json", id, "delete")
    lines = [each.getMessage() for each in caplog.records if "actor=" in each.getMessage()]
    events = ["role change", "disable", "enable", "rename", "reset link", "deletion"]
    assert [line.partition(" user=")[0] for line in lines] == events
    for line in lines:
        assert "address='127.0.0.1'" in line
        assert line.endswith(f"actor='root' actor_id='{root}'")


@each_kind
async def test_an_action_needs_a_recent_sign_in(tmp_path: Path, kind: str) -> None:
    """A session of yesterday may look, and is asked for the password before it acts."""
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as root:
        await administrator(site, root)
        id = await user(site)
        clock.now += 601
        assert (await ask(root, f"/admin/accounts/{id}")).status == 200
        for action in (*ACTIONS, "sign-in-as"):
            answer = await sure(root, kind, id, action)
            if kind == "form":
                assert answer.status == 307
                assert "/reauthenticate" in answer.headers["Location"]
            else:
                assert (answer.status, answer.error) == (403, "reauthenticate")
        account = await site.services.accounts.by_id(id)
        assert account is not None
        assert account.disabled is None


# -- dangers --

DANGERS = {
    "disable": "Disable ann?",
    "delete": "Delete ann?",
    "end-sessions": "End all sessions of ann?",
}


@each_kind
@pytest.mark.parametrize("action", DANGERS)
async def test_dangerous_actions_ask_first(
    site: Site, visitor: Visitor, ann: Visitor, kind: str, action: str
) -> None:
    """A form gets a page with the question and both ways out, a script 409; nothing is done."""
    await administrator(site, visitor)
    await ann.sign_up("ann")
    id = await account_id(site, "ann")
    answer = await act(visitor, kind, id, action)
    assert answer.status == (200 if kind == "form" else 409)
    assert DANGERS[action] in answer.text
    if kind == "form":
        assert f'action="/admin/accounts/{id}/{action}"' in answer.text
        assert f'href="/admin/accounts/{id}"' in answer.text
    assert await who(ann) == "ann"
    answer = await sure(visitor, kind, id, action)
    assert answer.status == (303 if kind == "form" else 204), answer.text
    assert await who(ann) is None


OWN = {
    "disable": ({}, "This is your own account"),
    "delete": ({}, "This is your own account"),
    "roles": ({"remove": "admin"}, "Take the role admin from yourself?"),
    "end-sessions": ({}, "You are signed out, too."),
}


@pytest.mark.parametrize("action", OWN)
async def test_administrators_are_asked_before_they_lock_themselves_out(
    site: Site, visitor: Visitor, action: str
) -> None:
    """And can do it while there is another administrator."""
    id = await administrator(site, visitor)
    boss = await user(site, "boss")
    await site.services.roles.set(boss, add=["admin"])
    fields, question = OWN[action]
    answer = await act(visitor, "form", id, action, **fields)
    assert answer.status == 200
    assert question in text(answer.text)
    assert (await visitor.get("/admin", headers=JSON)).status == 200
    assert (await sure(visitor, "form", id, action, **fields)).status == 303
    assert (await visitor.get("/admin", headers=JSON)).status in (401, 403)


@each_kind
@pytest.mark.parametrize("action", ["disable", "delete", "roles"])
async def test_the_last_administrator_stays(
    site: Site, visitor: Visitor, kind: str, action: str
) -> None:
    """A disabled one does not count; the command line may do it all the same."""
    id = await administrator(site, visitor)
    boss = await user(site, "boss")
    await site.services.roles.set(boss, add=["admin"])
    await sure(visitor, kind, boss, "disable")
    answer = await sure(visitor, kind, id, action, remove="admin")
    assert answer.status == 409
    assert "This is the last administrator who may sign in." in answer.error
    assert (await visitor.get("/admin", headers=JSON)).status == 200


async def test_rows_of_a_fork_keep_an_account(
    site: Site, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says so, with 409."""
    from app.accounts import AccountInUse

    async def refuse(*_: Any, **__: Any) -> None:
        raise AccountInUse

    await administrator(site, visitor)
    id = await user(site)
    monkeypatch.setattr(site.services.accounts, "check_deletable", refuse)
    answer = await sure(visitor, "form", id, "delete")
    assert answer.status == 409
    assert await account_id(site, "ann") == id


async def test_the_overview_counts(site: Site, visitor: Visitor, ann: Visitor) -> None:
    """Connections, sessions, users, events and sign-ins; as JSON too."""
    await administrator(site, visitor)
    await ann.sign_up("ann")
    for _ in range(2):
        await joined(ann, "websocket")

    async def counts() -> Any:
        return json.loads((await visitor.get("/admin", headers=JSON)).text)

    async def counted() -> bool:
        now = await counts()
        return bool(now["now"]["connections"] == 2 and now["sign_ins"] == 2)

    await until(counted)
    shown = await counts()
    assert (shown["now"]["sessions"], shown["users"]) == (1, 1)
    assert [plot["name"] for plot in shown["plots"]] == ["connections", "events", "sign_ins"]
    page = (await ask(visitor, "/admin")).text
    assert page.count("<polyline points=") == 3
