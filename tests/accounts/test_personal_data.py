"""The section of personal data, and the download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import account_id
from tests.support.browsers import session_id
from tests.support.clock import Clock
from tests.support.forms import ask, send
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.step_up import LATE, prove, step_up_modules
from tests.support.visitor import Visitor
from tests.support.waiting import until

JSON = {"Accept": "application/json"}


async def test_a_user_downloads_what_the_site_keeps(site: Site, ann: Visitor) -> None:
    """Account, sessions and events as a file; nothing in it signs anybody in."""
    async with Visitor(site.url) as phone:
        await ann.sign_up("ann")
        await phone.sign_in("ann")
        await site.services.audit_trail.flush()
        page = (await ask(ann, "/account/data")).text
        assert await account_id(site, "ann") in page
        assert "<strong>registration</strong>" in page
        answer = await ask(ann, "/account/data/download")
        assert answer.headers["Content-Disposition"] == 'attachment; filename="account.json"'
        assert answer.headers["Cache-Control"] == "no-store"
        found = json.loads(answer.text)
        assert found["account"]["name"] == "ann"
        assert len(found["sessions"]) == 2
        assert {event["event"] for event in found["audit"]} == {"registration", "sign-in"}
        hidden = await site.services.accounts.password_hash("ann")
        for secret in (hidden, session_id(ann.cookie), session_id(phone.cookie), "$argon2"):
            assert secret not in answer.text
        assert await site.services.audit_trail.flush()
        events = await site.services.audit_trail.of(await account_id(site, "ann"), 1)
        assert events[0].event == "data export"


@pytest.mark.asvs("7.5.3")
async def test_personal_data_need_a_recent_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link leads to the form and back to the section; a script is told to ask."""
    clock = Clock()
    modules = step_up_modules(monkeypatch)
    async with serve(tmp_path, modules=modules, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        clock.now += LATE
        for path, target in (
            ("/account/data", "/reauthenticate?next=%2Faccount%2Fdata"),
            ("/account/data/download", "/account/data"),
        ):
            answer = await ask(ann, path)
            assert (answer.status, answer.headers["Location"]) == (303, target)
            answer = await ann.get(path, headers=JSON)
            assert (answer.status, answer.error) == (403, "reauthenticate")
        assert await prove(ann) == 204
        assert (await ask(ann, "/account/data/download")).status == 200


async def test_signing_out_everywhere_clears_the_browser(site: Site, ann: Visitor) -> None:
    """All devices are out; cookies of other sites of the domain stay."""
    async with Visitor(site.url) as phone:
        await ann.sign_up("ann")
        await phone.sign_in("ann")
        socket = await phone.socket("websocket")
        answer = await send(ann, "form", "/account/sessions/revoke-all")
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
        assert await socket.ended() == "revoked"
        user_id = await account_id(site, "ann")
        assert await site.services.sessions.of_user(user_id) == []


@pytest.mark.parametrize("base_path", ["", "/app"])
async def test_password_managers_find_the_page(tmp_path: Path, base_path: str) -> None:
    """At the root of the host, with --base-path too; other well-known addresses are 404."""
    async with serve(tmp_path, base_path=base_path) as site, Visitor(site.url) as ann:
        root = site.url.removesuffix(base_path)
        async with ann.http.get(
            root + "/.well-known/change-password", allow_redirects=False
        ) as answer:
            assert answer.status == 303
            assert answer.headers["Location"] == base_path + "/account/sign-in"
        nowhere = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
        async with ann.http.get(root + nowhere) as answer:
            assert answer.status == 404


async def test_the_ways_of_signing_in_are_listed(site: Site, ann: Visitor) -> None:
    """What is set up, since when, and when it was last used; the page and JSON agree."""
    await ann.sign_up("ann")
    await ann.sign_in("ann")
    await site.services.audit_trail.flush()
    answer = await ann.get("/account/sign-in", headers=JSON)
    password, app, codes = answer.json()["ways"]
    assert (password["name"], password["set_up"]) == ("Password", True)
    assert 0 < password["since"] <= password["used"]
    assert (app["set_up"], app["since"], app["used"]) == (False, None, None)
    assert (codes["name"], codes["set_up"]) == ("Recovery codes", False)
    page = " ".join((await ask(ann, "/account/sign-in")).text.split())
    assert "<dt>Password</dt><dd>Set up since <time" in page
    assert "<dt>Authenticator app</dt><dd>Not set up</dd>" in page


@pytest.mark.limit(60)
@pytest.mark.asvs("6.3.5")
async def test_a_new_device_at_another_process_is_told(tmp_path: Path, postgres: Any) -> None:
    """Over Redis; and signing out everywhere there ends the socket here."""
    url = postgres.url(postgres.database())
    async with (
        sites(tmp_path, database=url) as (here, there),
        Visitor(here.url) as ann,
        Visitor(there.url) as phone,
    ):
        await ann.sign_up("ann")
        socket = await ann.socket("websocket", namespaces=("/account",))
        await until(lambda: len(socket.events("/account")) >= 1)
        await phone.sign_in("ann")
        await until(lambda: any(name == "signed in" for name, _ in socket.events("/account")))
        assert (await send(phone, "json", "/account/sessions/revoke-all")).status == 204
        assert await socket.ended(namespace="/account") == "revoked"


async def test_a_new_device_is_told_to_the_others(site: Site, ann: Visitor) -> None:
    """By the event `signed in`, once; a session that gets a new id is no new device."""
    async with Visitor(site.url) as phone:
        await ann.sign_up("ann")
        socket = await ann.socket("websocket", namespaces=("/account",))
        await until(lambda: len(socket.events("/account")) >= 1)
        await phone.sign_in("ann")

        def told() -> list[str]:
            return [name for name, _ in socket.events("/account")]

        await until(lambda: "signed in" in told())
        before = len(told())
        assert await prove(phone) == 204
        await until(lambda: len(told()) > before)
        assert told().count("signed in") == 1
        await socket.close()


async def test_a_device_that_signs_in_before_the_first_list_is_told(
    site: Site, ann: Visitor
) -> None:
    """The page has been shown without it."""
    async with Visitor(site.url) as phone:
        await ann.sign_up("ann")
        socket = await ann.socket("websocket", namespaces=("/account",))
        await phone.sign_in("ann")
        await until(lambda: "signed in" in [name for name, _ in socket.events("/account")])
        (told,) = [data for name, data in socket.events("/account") if name == "signed in"]
        assert told[0]["current"] is False
        await socket.close()
