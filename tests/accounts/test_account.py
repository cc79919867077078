"""The account page over HTTP and its sockets: what a user sees of his sessions, and their ends."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from app.accounts import AccountsUnavailable
from app.devices import Devices
from app.stores.memory import MemoryStore
from tests.support.browsers import browser, each_client, ended, joined, session_id
from tests.support.clock import Clock
from tests.support.devices import (
    FIREFOX,
    IPHONE,
    NEW,
    id_of,
    ids,
    lists,
    revoke,
    shown,
    text,
    watching,
)
from tests.support.forms import PAGE, PASSWORD, Answer, ask, each_kind, send, who
from tests.support.raw import Raw
from tests.support.site import Site, serve
from tests.support.stores import STORES, every_store
from tests.support.suspending_store import SuspendingStore
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

# -- the page --


@pytest.mark.asvs("7.5.2")
async def test_the_page_lists_each_session_in_words(tmp_path: Path) -> None:
    """Browser and system, address, times, the connections, and which one this is."""
    async with (
        serve(tmp_path) as site,
        Visitor(site.url, **{"User-Agent": FIREFOX}) as here,
        Visitor(site.url, **{"User-Agent": IPHONE}) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        socket = await joined(there, "polling")
        page = (await ask(here, "/account")).text
        assert ids(page) == [id_of(here), id_of(there)]
        first, second = re.findall(r"<li.*?</li>", page, re.DOTALL)[:2]
        assert "Firefox 132 on Linux This device Not connected Address 127.0.0.1" in text(first)
        assert re.search(r"Signed in 20\d\d-\d\d-\d\d \d\d:\d\d UTC Last seen 20", text(first))
        assert "hidden>This device" in second
        assert "Mobile Safari 17 on iOS" in text(second)
        assert "Connected by polling" in text(second)
        await socket.close()


@pytest.mark.parametrize("agent", ["", "x" * 4000, "<b>(((((", "curl/8.5", "Mozilla/5.0 (" * 400])
async def test_any_user_agent_has_a_row(tmp_path: Path, agent: str) -> None:
    """Whatever a client calls itself, its owner sees a row, and none of its words as markup."""
    async with serve(tmp_path) as site, Visitor(site.url, **{"User-Agent": agent}) as ann:
        await ann.sign_up("ann")
        page = (await ask(ann, "/account")).text
        assert ids(page) == [id_of(ann)]
        assert ("curl 8" if agent.startswith("curl") else "Unknown browser") in text(page)
        assert "<b>" not in page


@pytest.mark.asvs("3.2.2")
async def test_names_and_addresses_are_escaped(tmp_path: Path) -> None:
    """What looks like markup is text on the page."""
    name = '"><script>alert(1)</script>'
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up(name)
        sessions = site.services.sessions
        await sessions.create(remote_address="<script>alert(2)</script>", user_agent="", user=name)
        page = (await ask(ann, "/account")).text
        assert "<script>alert" not in page
        assert page.count("&lt;script&gt;alert(2)") == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/account"),
        ("POST", "/account/sessions/revoke-others"),
        ("POST", f"/account/sessions/{'0' * 32}/revoke"),
        ("POST", "/account/password"),
        ("POST", "/account/delete"),
    ],
)
@each_kind
async def test_a_visitor_is_sent_to_sign_in(
    tmp_path: Path, method: str, path: str, kind: str
) -> None:
    """A page by redirection, which leads back to the account; a script by 401 with a sentence."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        before = visitor.cookie
        if method == "POST":
            answer = await send(visitor, kind, path, password=PASSWORD)
        else:
            answer = await ask(
                visitor, path, **({"Accept": "application/json"} if kind == "json" else {})
            )
        if kind == "json":
            assert (answer.status, answer.sentence) == (401, "sign in first")
        else:
            assert answer.status in (302, 303)
            assert answer.headers["Location"] == "/login?next=%2Faccount"
        assert visitor.cookie == before


@pytest.mark.asvs("3.3.4")
async def test_no_session_id_leaves_the_server(tmp_path: Path) -> None:
    """Neither page nor event holds a session's id; the public id opens nothing."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as thief:
        await ann.sign_up("ann")
        socket = await watching(ann)
        rows = await shown(socket, lambda rows: True)
        own = session_id(ann.cookie)
        page = (await ask(ann, "/account")).text
        assert own not in page
        assert own not in str(rows)
        assert rows[0]["id"] in page
        signature = ann.cookie.partition(".")[2]
        thief.http.headers["Cookie"] = f"latchkey={rows[0]['id']}.{signature}"
        assert await who(thief) is None
        await socket.close()


# -- ends --


@pytest.mark.asvs("7.5.2")
@each_kind
async def test_a_device_is_signed_out_from_another(tmp_path: Path, kind: str) -> None:
    """Its session is over, its sockets are told `revoked`, and the row is gone."""
    async with serve(tmp_path) as site, Visitor(site.url) as here, Visitor(site.url) as there:
        await here.sign_up("ann")
        await there.sign_in("ann")
        socket = await joined(there, "websocket")
        answer = await revoke(here, kind, id_of(there))
        assert answer.status == (303 if kind == "form" else 204)
        if kind == "form":
            assert answer.headers["Location"] == "/account?done=device"
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        assert await who(there) is None
        page = (await ask(here, "/account?done=device")).text
        assert ids(page) == [id_of(here)]
        assert "That device is signed out." in text(page)


@each_kind
async def test_signing_out_this_device_is_signing_out(tmp_path: Path, kind: str) -> None:
    """Its own row ends the session that asks, and a form goes on to sign in again."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        answer = await revoke(ann, kind, id_of(ann))
        assert answer.status == (303 if kind == "form" else 204)
        assert answer.headers.get("Location") == (
            "/login?next=/account" if kind == "form" else None
        )
        assert (ann.cookie, await who(ann)) == ("", None)


@each_kind
async def test_signing_out_everywhere_else_leaves_this_one(tmp_path: Path, kind: str) -> None:
    """All others of this user are over; another user's are not touched."""
    async with (
        serve(tmp_path) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as two,
        Visitor(site.url) as three,
        Visitor(site.url) as eve,
    ):
        await ann.sign_up("ann")
        await two.sign_in("ann")
        await three.sign_in("ann")
        await eve.sign_up("eve")
        answer = await send(ann, kind, "/account/sessions/revoke-others")
        assert answer.status == (303 if kind == "form" else 204)
        assert [await who(visitor) for visitor in (ann, two, three, eve)] == [
            "ann", None, None, "eve",
        ]  # fmt: skip


@pytest.mark.asvs("7.5.2")
@each_kind
async def test_nobody_ends_another_users_session(tmp_path: Path, kind: str) -> None:
    """Its public id, its real id and an id of nobody's all get the same 404, byte for byte."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as eve:
        await ann.sign_up("ann")
        await eve.sign_up("eve")
        socket = await watching(eve)
        answers = []
        for id in (id_of(ann), session_id(ann.cookie), "0" * 32, "x" * 3000):
            answer = await revoke(eve, kind, id)
            answers.append((answer.status, answer.text))
            assert await socket.call("revoke", id, namespace="/account") == {
                "error": "unknown session"
            }
        assert set(answers) == {answers[0]}
        assert answers[0][0] == 404
        assert await who(ann) == "ann"
        assert id_of(ann) not in (await ask(eve, "/account")).text
        assert id_of(ann) not in str(lists(socket))
        await socket.close()


@pytest.mark.parametrize("junk", [None, 1, True, [], {"id": 1}, ["x"], "", "x" * 100_000], ids=str)
async def test_the_event_takes_any_junk(
    tmp_path: Path, junk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no public id is an unknown session; nothing fails."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        socket = await watching(ann)
        answer = await socket.client.call("revoke", (junk,), namespace="/account", timeout=5)
        assert answer == {"error": "unknown session"}
        assert "Traceback" not in caplog.text
        await socket.close()


@pytest.mark.asvs("3.5.1")
@pytest.mark.parametrize("path", ["sessions/revoke-others", "password", "delete"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}], ids=str
)
async def test_another_site_cannot_use_the_forms(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    """A cross-origin POST gets 403 and changes nothing."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(
            ann, "form", f"/account/{path}", headers, password=PASSWORD, new_password=NEW
        )
        assert answer.status == 403
        assert [await who(ann), await who(two)] == ["ann", "ann"]
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


# -- the password --


@pytest.mark.asvs("6.2.2", "7.2.4", "7.4.3")
@each_kind
async def test_a_changed_password_ends_all_other_sessions(tmp_path: Path, kind: str) -> None:
    """This one gets a new id and stays; the old cookie and the old password are worth nothing."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
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
async def test_a_database_that_goes_away_after_the_change_leaves_nobody_in_doubt(
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
        assert answer.sentence.startswith("Your password is changed, but the database")
        assert await who(ann) is None
        monkeypatch.undo()
        await ann.sign_in("ann", NEW)


async def test_sockets_come_back_after_a_change_of_the_password(tmp_path: Path) -> None:
    """They are told `regenerated`, and rejoin with the new cookie as the same user."""
    async with serve(tmp_path) as site, browser("python", site.url) as ann:
        await ann.sign_up("ann")
        socket = await ann.socket("websocket", reconnection=True)
        await send(ann, "json", "/account/password", password=PASSWORD, new_password=NEW)
        await until(lambda: ended(socket) == [{"reason": "regenerated", "reconnect": True}])
        await until(lambda: socket.connects == 2)
        assert await socket.call("whoami") == "ann"


@pytest.mark.asvs("6.2.3", "7.5.1", "7.5.3")
@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_a_wrong_password_changes_nothing(tmp_path: Path, kind: str, path: str) -> None:
    """403 with a sentence, beside the form on the page; other devices stay."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, path, password="wrong wrong wrong", new_password=NEW)
        assert (answer.status, answer.sentence) == (403, "Wrong password.")
        assert "wrong wrong" not in answer.text
        assert (await who(ann), await who(two)) == ("ann", "ann")
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@each_kind
@pytest.mark.parametrize("new", ["", "short", "x" * 129])
async def test_a_bad_new_password_changes_nothing(tmp_path: Path, kind: str, new: str) -> None:
    """422 with what a password has to be, and nobody is signed out."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, "/account/password", password=PASSWORD, new_password=new)
        assert answer.status == 422
        assert "8 to 128" in answer.sentence
        assert (await who(ann), await who(two)) == ("ann", "ann")


@pytest.mark.asvs("6.3.1")
@each_kind
@pytest.mark.parametrize("path", ["/account/password", "/account/delete"])
async def test_wrong_passwords_are_limited(tmp_path: Path, kind: str, path: str) -> None:
    """Who has only the session cannot try passwords at will, and no stranger uses the tries up."""
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
        assert re.search(r"wait \d+ seconds?", answer.sentence)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@each_kind
@pytest.mark.parametrize(
    ("path", "user"), [("/account/password", "ann"), ("/account/delete", None)]
)
async def test_a_database_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, path: str, user: str | None
) -> None:
    """503, a sentence and when to come back; the account is as it was, though a deleter is out."""
    monkeypatch.setattr("app.accounts.database._LOCK_TIMEOUT", 0.2)
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        with contextlib.closing(sqlite3.connect(tmp_path / "data/accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await send(ann, kind, path, password=PASSWORD, new_password=NEW)
        assert answer.status == 503
        assert "does not answer" in answer.sentence
        assert answer.headers["Retry-After"] == "2"
        assert await who(ann) == user
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


@pytest.mark.asvs("7.4.2")
@each_kind
async def test_a_deleted_account_is_gone_with_its_sessions(tmp_path: Path, kind: str) -> None:
    """Nobody can sign in, all devices are out, and somebody else may take the name."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(ann, kind, "/account/delete", password=PASSWORD)
        assert answer.status == (303 if kind == "form" else 204), answer.text
        assert (await who(ann), await who(two), ann.cookie) == (None, None, "")
        answer = await send(two, "json", "/login", username="ann", password=PASSWORD)
        assert answer.status == 401
        await two.sign_up("ann", "somebody else's")
        assert await who(two) == "ann"


@every_store
async def test_ends_reach_the_store_of_any_kind(kind: str, tmp_path: Path) -> None:
    """One device, then all others: by the index of users that every store has."""
    store = STORES[kind](tmp_path)
    async with (
        serve(tmp_path, store=store) as site,
        Visitor(site.url, **{"User-Agent": FIREFOX}) as ann,
        Visitor(site.url) as two,
        Visitor(site.url) as three,
    ):
        await ann.sign_up("ann")
        await two.sign_in("ann")
        await three.sign_in("ann")
        page = (await ask(ann, "/account")).text
        assert sorted(ids(page)) == sorted(id_of(visitor) for visitor in (ann, two, three))
        assert (await revoke(ann, "json", id_of(two))).status == 204
        assert (await revoke(ann, "json", id_of(two))).status == 404
        assert [await who(visitor) for visitor in (ann, two, three)] == ["ann", None, "ann"]
        assert (await send(ann, "json", "/account/sessions/revoke-others")).status == 204
        assert [await who(visitor) for visitor in (ann, three)] == ["ann", None]


# -- races --


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
    tmp_path: Path, change: str, step: str
) -> None:
    """Held after it was verified, stored or confirmed, it ends with all other sessions."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as late:
        await ann.sign_up("ann")
        services = site.services

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
        assert len(await services.sessions.store.of_user("ann")) == (change == "password")


async def test_whoever_signs_in_meanwhile_is_signed_out_too(tmp_path: Path) -> None:
    """Sessions that come while all others are ended are ended as well."""
    store = SuspendingStore(MemoryStore())
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        sessions = site.services.sessions

        async def sign_in_often() -> None:
            for _ in range(5):
                await sessions.create(remote_address="::1", user_agent="late", user="ann")

        await sign_in_often()
        own = session_id(ann.cookie)
        ended, _ = await asyncio.gather(
            site.services.devices.revoke_others("ann", own), sign_in_often()
        )
        assert ended > 5
        assert [record.id for record in await store.of_user("ann")] == [own]


async def test_two_changes_of_a_password_at_once_make_one(tmp_path: Path) -> None:
    """Of two devices that change it, one has to hear that it was too late."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
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
        assert len(await site.services.sessions.store.of_user("ann")) == 1


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
async def test_nobody_is_signed_in_by_a_password_that_was_changed_meanwhile(
    tmp_path: Path, first: str, then: str
) -> None:
    """Who registers or changes his password asks once more, as a login does."""
    async with serve(tmp_path) as site, Visitor(site.url) as slow, Visitor(site.url) as quick:
        services, password = site.services, PASSWORD
        if first == "register":
            held = Held(services.devices, "revoke_others")
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
        assert await who(quick) == ("ann" if (first, then) == ("password", "password") else None)


async def test_a_login_just_before_a_deletion_is_signed_out_by_it(tmp_path: Path) -> None:
    """Who signs in after the sessions were ended and before the account is gone is out as well."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as late:
        await ann.sign_up("ann")
        held = Held(site.services.accounts, "delete")
        deletion = asyncio.ensure_future(send(ann, "json", "/account/delete", password=PASSWORD))
        await asyncio.wait_for(held.reached.wait(), 5)
        await late.sign_in("ann")
        held.go_on.set()
        assert (await deletion).status == 204
        assert await who(late) is None


async def test_who_deletes_twice_hears_that_it_is_gone(
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
    """Sessions that an earlier account has left behind end when its name is taken again."""
    async with serve(tmp_path) as site, Visitor(site.url) as old, Visitor(site.url) as new:
        await old.sign_up("ann")
        accounts = site.services.accounts
        assert await accounts.delete(await accounts.prove("ann", PASSWORD))
        assert await who(old) == "ann"
        await new.sign_up("ann", "somebody else's")
        assert (await who(old), await who(new)) == (None, "ann")


async def test_another_spelling_is_another_account(tmp_path: Path) -> None:
    """A session that outlived its account has no power over one of nearly the same name."""
    async with serve(tmp_path) as site, Visitor(site.url) as old:
        await old.sign_up("Ann")
        accounts = site.services.accounts
        assert await accounts.delete(await accounts.prove("ann", PASSWORD))
        await accounts.register("ANN", PASSWORD)
        answer = await send(old, "json", "/account/delete", password=PASSWORD)
        assert answer.status == 403
        assert await accounts.verify("ann", PASSWORD) == "ANN"


# -- live --


@pytest.fixture
def no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a list be made anew for changes only."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 3600)


async def test_a_visitor_may_not_watch(tmp_path: Path) -> None:
    """The namespace refuses him with the connect error `unauthorized`."""
    async with serve(tmp_path) as site, browser("official", site.url) as visitor:
        socket: Any = await visitor.socket("websocket", namespaces=("/", "/account"))
        assert socket.errors("/account") == ["unauthorized"]


@each_client
@pytest.mark.usefixtures("no_refresh")
async def test_the_list_follows_every_change(tmp_path: Path, client: str) -> None:
    """Signing in, coming, upgrading, going and ending: each sends the watching page a new list."""
    async with (
        serve(tmp_path) as site,
        browser(client, site.url) as here,
        browser(client, site.url) as there,
    ):
        await here.sign_up("ann")
        watch = await watching(here)
        (own,) = await shown(watch, lambda rows: rows[0]["connections"] == ["websocket"])
        assert own["id"] == id_of(here)
        assert own["current"] is True
        await there.sign_in("ann")
        rows = await shown(watch, lambda rows: len(rows) == 2)
        assert rows[1]["id"] == id_of(there)
        assert rows[1]["current"] is False
        socket = await joined(there, "polling")
        await shown(watch, lambda rows: rows[1]["connections"] == ["polling"])
        await socket.close()
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        await joined(there, "upgraded")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        assert await watch.call("revoke", id_of(there), namespace="/account") is True
        await shown(watch, lambda rows: len(rows) == 1)
        assert await who_is(there) is None
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        # without a connection whose going would tell of it
        await there.post("/logout")
        await shown(watch, lambda rows: len(rows) == 1)


async def test_an_upgrade_is_told(tmp_path: Path) -> None:
    """Who keeps books on connections hears when one takes another transport."""
    async with serve(tmp_path) as site, browser("official", site.url) as ann:
        heard: list[list[str]] = []
        connections = site.services.connections

        def listen(id: str) -> None:
            peers = connections._by_session.get(id, ())
            heard.append([peer.connection.transport.name for peer in peers])

        connections.on_change.append(listen)
        socket = await joined(ann, "upgraded")
        await socket.close()
        await until(lambda: len(heard) == 3)
        assert heard == [["polling"], ["websocket"], []]


async def test_the_same_list_is_not_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made anew from time to time, and sent where it differs from the last one."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 0.01)
    monkeypatch.setattr("app.devices.watchers._MIN_INTERVAL", 0.01)
    async with serve(tmp_path, clock=Clock()) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        watch = await watching(ann)
        await shown(watch, lambda rows: rows[0]["connections"])
        count = len(lists(watch))
        await asyncio.sleep(0.3)
        assert len(lists(watch)) == count
        await watch.close()


async def test_a_list_for_many_sockets_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Everybody else has his turn between two sockets; one that left meanwhile gets nothing."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        watchers, session = site.services.device_watchers, session_id(ann.cookie)
        sent: list[str] = []
        behind: list[int] = []

        async def send(sid: str, rows: list[Any]) -> None:
            sent.append(sid)
            number = len(sent)
            asyncio.get_running_loop().call_soon(lambda: behind.append(len(sent) - number))
            watchers.unwatch("ann", "3")

        for number in range(20):
            watchers.watch("ann", str(number), session, send)
        await until(lambda: len(behind) == 19)
        assert set(behind) == {0}
        assert "3" not in sent


async def test_a_device_whose_end_was_not_heard_of_gets_no_list(tmp_path: Path) -> None:
    """Who else is signed in is no business of a session that is gone, though its socket stands."""
    store = WatchedStore()
    async with (
        serve(tmp_path, store=store) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as thief,
        Visitor(site.url) as late,
    ):
        await ann.sign_up("ann")
        await thief.sign_in("ann")
        hers, his = await watching(ann), await watching(thief)
        await shown(his, lambda rows: len(rows) == 2)
        store.lose(session_id(thief.cookie))
        await late.sign_in("ann")
        await shown(hers, lambda rows: id_of(late) in {row["id"] for row in rows})
        await asyncio.sleep(0.1)
        assert id_of(late) not in str(lists(his))
        await hers.close()
        await his.close()


async def test_an_event_of_a_socket_that_left_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that asks and goes without waiting puts no traceback into the log."""
    store = SuspendingStore(MemoryStore())
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as ann, Raw(site.url) as raw:
        await ann.sign_up("ann")
        assert (await raw.websocket(("Cookie", ann.cookie))).status == 101

        async def heard(beginning: str) -> None:
            while not (await raw.receive() or beginning).startswith(beginning):
                pass

        raw.send("40/account,")
        await heard("40/account,")
        raw.send('42/account,["revoke","x"]')
        raw.send("41/account,")
        raw.send("40")
        await heard("40")
        raw.send('421["count"]')
        await heard("431")
        assert "failed" not in caplog.text


async def test_what_is_over_has_no_row(tmp_path: Path) -> None:
    """Also before the periodic callback has come to it."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=3600) as site,
        Visitor(site.url) as here,
        Visitor(site.url) as there,
    ):
        await there.sign_up("ann")
        clock.now += 86_401
        await here.sign_in("ann")
        assert ids((await ask(here, "/account")).text) == [id_of(here)]


async def who_is(visitor: Visitor) -> str | None:
    """Return the user whom the page names, for both kinds of visitors."""
    found = re.search(r'data-user="([^"]*)"', (await visitor.get("/"))[1])
    return found[1] if found else None


async def test_last_seen_is_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another device does shows after the refresh, and the page itself is no activity."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 0.05)
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=3600) as site,
        Visitor(site.url) as here,
        Visitor(site.url) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        watch = await watching(here)
        began = int(clock.now)
        await shown(watch, lambda rows: len(rows) == 2)
        clock.now += 100
        await there.incr()
        rows = await shown(watch, lambda rows: rows[1]["seen"] == began + 100)
        assert rows[0]["seen"] == began
        await watch.close()


async def test_a_device_that_expires_leaves_the_list(tmp_path: Path) -> None:
    """An idle session's row goes when the server ends it."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        Visitor(site.url) as here,
        Visitor(site.url) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        await joined(there, "websocket")
        watch = await watching(here)
        await shown(watch, lambda rows: len(rows) == 2)
        clock.now += 86_000
        await here.incr()
        clock.now += 500
        await shown(watch, lambda rows: len(rows) == 1)
        await watch.close()


async def test_nothing_is_computed_where_nobody_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comings and goings of users without an open account page ask the store for nothing."""
    looks: list[str] = []
    rows = Devices.rows

    async def counted(self: Devices, user: str, asking: Any) -> Any:
        looks.append(user)
        return await rows(self, user, asking)

    monkeypatch.setattr(Devices, "rows", counted)
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        watch = await watching(bob)
        await until(lambda: looks == ["bob"])
        socket = await joined(ann, "websocket")
        await socket.close()
        await ann.post("/logout")
        await asyncio.sleep(0.5)
        assert looks == ["bob"]
        await watch.close()
        await until(lambda: not site.services.device_watchers._watches)
        assert not site.services.device_watchers._users


async def test_a_storm_of_changes_makes_few_lists(tmp_path: Path) -> None:
    """Twenty connections that come and go at once are one list or two, not forty."""
    async with serve(tmp_path) as site, Visitor(site.url) as here, Visitor(site.url) as there:
        await here.sign_up("ann")
        await there.sign_in("ann")
        watch = await watching(here)
        await shown(watch, lambda rows: len(rows) == 2)
        before = len(lists(watch))
        sockets = await asyncio.gather(*(there.socket("websocket") for _ in range(20)))
        await asyncio.gather(*(socket.close() for socket in sockets))
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        await asyncio.sleep(0.5)
        assert len(lists(watch)) - before <= 8
        await watch.close()


async def test_a_user_with_very_many_sessions_gets_the_latest(tmp_path: Path) -> None:
    """The list is cut to a hundred, with the device that asks among them, and says so."""
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        # pages that ask are activity, so those below are seen later still
        clock.now += 1000
        sessions = site.services.sessions
        for number in range(150):
            await sessions.create(remote_address=f"192.0.2.{number}", user_agent="", user="ann")
        clock.now -= 500
        page = (await ask(ann, "/account")).text
        assert len(ids(page)) == 100
        assert ids(page)[0] == id_of(ann)
        assert "51 more are not shown" in text(page)
        await send(ann, "form", "/account/sessions/revoke-others", PAGE)
        assert len(await sessions.store.of_user("ann")) == 1
        assert "more are not shown" not in (await ask(ann, "/account")).text


@pytest.mark.asvs("3.5.3")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_a_link_changes_nothing(tmp_path: Path, method: str) -> None:
    """What ends or changes something is a POST, and nothing else."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        for path in (
            f"sessions/{id_of(two)}/revoke",
            "sessions/revoke-others",
            "password",
            "delete",
        ):
            query = f"?password={PASSWORD}&new_password={NEW}"
            async with ann.http.request(method, f"{site.url}/account/{path}{query}") as answer:
                assert answer.status == 405
        assert (await who(ann), await who(two)) == ("ann", "ann")
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"
