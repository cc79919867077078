"""Changes of the password and deletion of the account."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from app.accounts import AccountsUnavailable
from tests.support.browsers import browser, each_client, ended, joined
from tests.support.devices import (
    NEW,
)
from tests.support.forms import PASSWORD, each_kind, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor


@pytest.mark.asvs("6.2.2", "7.2.4", "7.4.3")
@each_kind
@pytest.mark.attack("A6")
async def test_a_changed_password_ends_all_other_sessions(
    site: Site, ann: Visitor, kind: str
) -> None:
    """This one gets a new id and stays; the old cookie and the old password are worth nothing."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await ann.incr()
        await two.sign_in("ann")
        before = ann.cookie
        answer = await send(ann, kind, "/account/password", password=PASSWORD, new_password=NEW)
        assert answer.status == (303 if kind == "form" else 204), answer.text
        assert ann.cookie != before
        assert (await who(ann), await who(two)) == ("ann", None)
        assert await ann.incr() == 2
        async with Visitor(site.url, Cookie=before) as thief:
            assert await who(thief) is None
        assert await site.services.accounts.verify("ann", PASSWORD) is None
        assert await site.services.accounts.verify("ann", NEW) == "ann"


@each_kind
async def test_a_database_that_fails_after_the_change_is_reported(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cannot be signed in once more is told that the password is the new one."""

    async def no_answer(*_: object) -> bool:
        raise AccountsUnavailable("no answer")

    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        monkeypatch.setattr(site.services.accounts, "still_valid", no_answer)
        fields = {"password": PASSWORD, "new_password": NEW}
        answer = await send(ann, kind, "/account/password", **fields)
        assert answer.status == 503
        assert answer.error.startswith("Your password is changed, but the database")
        assert await who(ann) is None
        monkeypatch.undo()
        await ann.sign_in("ann", NEW)


@each_client
async def test_sockets_of_this_device_stay_after_a_change_of_the_password(
    tmp_path: Path, client: str
) -> None:
    """They go on under the new id as the same user; see tests/step_up."""
    async with serve(tmp_path) as site, browser(client, site.url) as ann:
        await ann.sign_up("ann")
        socket = await joined(ann, "websocket", reconnection=True)
        await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        assert await socket.call("whoami") == "ann"
        assert (ended(socket), socket.connects) == ([], 1)


@pytest.mark.asvs("6.2.3", "7.5.1", "7.5.3")
@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_a_wrong_password_changes_nothing(
    site: Site, ann: Visitor, kind: str, path: str
) -> None:
    """403 with a sentence, beside the form on the page; other devices stay."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, path, password="wrong wrong wrong", new_password=NEW)
        assert (answer.status, answer.error) == (403, "Wrong password.")
        assert "wrong wrong" not in answer.text
        assert (await who(ann), await who(two)) == ("ann", "ann")
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@each_kind
@pytest.mark.parametrize("new", ["", "short", "x" * 129])
async def test_a_bad_new_password_changes_nothing(
    site: Site, ann: Visitor, kind: str, new: str
) -> None:
    """With 422 and the rule; no session ends."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, "/account/password", password=PASSWORD, new_password=new)
        assert answer.status == 422
        assert "8 to 128" in answer.error
        assert (await who(ann), await who(two)) == ("ann", "ann")


@pytest.mark.asvs("6.3.1")
@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_wrong_passwords_are_limited(tmp_path: Path, kind: str, path: str) -> None:
    """Whether or not the session was stolen; clients without it cannot use the limit up."""
    async with (
        serve(tmp_path, failed_logins_per_minute=3) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as eve,
    ):
        await ann.sign_up("ann")
        for _ in range(4):
            await send(eve, "json", "/login", username="ann", password="wrong wrong")
        for _ in range(3):
            answer = await send(ann, kind, path, password="wrong wrong wrong", new_password=NEW)
            assert answer.status == 403
        answer = await send(ann, kind, path, password=PASSWORD, new_password=NEW)
        assert answer.status == 429
        assert re.search(r"wait \d+ seconds?", answer.error)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_a_failing_database_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    """503, a sentence and when to come back; account and session are as they were."""
    monkeypatch.setattr("app.database.sqlite._LOCK_TIMEOUT", 0.2)
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        with contextlib.closing(sqlite3.connect(tmp_path / "data/accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await send(ann, kind, path, password=PASSWORD, new_password=NEW)
        assert answer.status == 503
        assert "does not answer" in answer.error
        assert answer.headers["Retry-After"] == "2"
        assert await who(ann) == "ann"
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@pytest.mark.asvs("7.4.2")
@each_kind
async def test_a_deleted_account_is_gone_with_its_sessions(
    site: Site, ann: Visitor, kind: str
) -> None:
    """Sign-in fails, all sessions are ended, and the name can be registered again."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, "/account/delete", password=PASSWORD)
        assert answer.status == (303 if kind == "form" else 204), answer.text
        assert (await who(ann), await who(two), ann.cookie) == (None, None, "")
        answer = await send(two, "json", "/login", username="ann", password=PASSWORD)
        assert answer.status == 401
        await two.sign_up("ann", "somebody else's")
        assert await who(two) == "ann"
