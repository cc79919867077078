"""The account page: what it shows, and who may use it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from app import testing
from tests.support.accounts import account_id
from tests.support.browsers import joined, session_id
from tests.support.clock import Clock
from tests.support.devices import (
    FIREFOX,
    IPHONE,
    NEW,
    id_of,
    ids,
    shown,
    text,
    watching,
)
from tests.support.forms import PAGE, PASSWORD, ask, each_kind, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor


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
        first, second = re.findall(r'<li class="device".*?</li>', page, re.DOTALL)[:2]
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
        sessions, user_id = site.services.sessions, await account_id(site, name)
        await sessions.create(
            remote_address="<script>alert(2)</script>", user_agent="", user_id=user_id
        )
        page = (await ask(ann, "/account")).text
        assert "<script>alert" not in page
        assert page.count("&lt;script&gt;alert(2)") == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/account"),
        ("GET", "/account/sign-in"),
        ("GET", "/account/delete"),
        ("POST", "/account/sessions/revoke-others"),
        ("POST", f"/account/sessions/{'0' * 32}/revoke"),
        ("POST", "/account/password"),
        ("POST", "/account/delete"),
    ],
)
@each_kind
async def test_a_visitor_is_sent_to_sign_in(
    visitor: Visitor, method: str, path: str, kind: str
) -> None:
    """A page by redirection, which leads back to the account; a script by 401 with a sentence."""
    await visitor.incr()
    before = visitor.cookie
    if method == "POST":
        answer = await send(visitor, kind, path, password=PASSWORD)
    else:
        answer = await ask(
            visitor, path, **({"Accept": "application/json"} if kind == "json" else {})
        )
    if kind == "json":
        assert (answer.status, answer.error) == (401, "sign in first")
    else:
        assert answer.status in (302, 303)
        own_page = method == "GET" or path == "/account/delete"
        back = path if own_page else "/account"
        assert answer.headers["Location"] == f"/login?next={quote(back, safe='')}"
    assert visitor.cookie == before


@pytest.mark.asvs("3.3.4")
async def test_no_session_id_leaves_the_server(site: Site, ann: Visitor) -> None:
    """Neither page nor event holds a session's id; the public id opens nothing."""
    async with Visitor(site.url) as thief:
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


@pytest.mark.asvs("3.5.1")
@pytest.mark.parametrize("path", ["sessions/revoke-others", "password", "delete"])
@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"}], ids=str
)
async def test_another_site_cannot_use_the_forms(
    site: Site, ann: Visitor, path: str, headers: dict[str, str]
) -> None:
    """A cross-origin POST gets 403 and changes nothing."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        answer = await send(
            ann, "form", f"/account/{path}", headers, password=PASSWORD, new_password=NEW
        )
        assert answer.status == 403
        assert [await who(ann), await who(two)] == ["ann", "ann"]
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


async def test_an_expired_session_has_no_row(tmp_path: Path) -> None:
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


async def test_a_user_with_very_many_sessions_gets_the_latest(tmp_path: Path) -> None:
    """The list is cut to a hundred, with the device that asks among them, and says so."""
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        # pages that ask are activity, so those below are seen later still
        clock.now += 1000
        sessions, user_id = site.services.sessions, await account_id(site, "ann")
        for number in range(150):
            await sessions.create(
                remote_address=f"192.0.2.{number}", user_agent="", user_id=user_id
            )
        clock.now -= 500
        page = (await ask(ann, "/account")).text
        assert len(ids(page)) == 100
        assert ids(page)[0] == id_of(ann)
        assert "51 more are not shown" in text(page)
        await send(ann, "form", "/account/sessions/revoke-others", PAGE)
        assert len(await sessions.store.of_user(user_id)) == 1
        assert "more are not shown" not in (await ask(ann, "/account")).text


@pytest.mark.asvs("3.5.3")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_a_link_changes_nothing(site: Site, ann: Visitor, method: str) -> None:
    """What ends or changes something is a POST, and nothing else."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        for path in (
            f"sessions/{id_of(two)}/revoke",
            "sessions/revoke-others",
            "password",
            "delete",
        ):
            query = f"?password={PASSWORD}&new_password={NEW}"
            shown = path == "delete" and method in ("GET", "HEAD")  # a page with the form
            async with ann.http.request(method, f"{site.url}/account/{path}{query}") as answer:
                assert answer.status == (200 if shown else 405)
        assert (await who(ann), await who(two)) == ("ann", "ann")
        assert await site.services.accounts.verify("ann", PASSWORD) == "ann"


async def test_a_script_gets_the_page_as_json(
    latchkey: testing.Site, visitor: testing.Visitor
) -> None:
    """The user and the devices; the ids in it are those that the actions take."""
    wants = {"Accept": "application/json"}
    assert await visitor.get("/account", headers=wants) == (401, '{"error": "sign in first"}')
    await visitor.register("ann")
    phone = latchkey.visitor(**{"User-Agent": IPHONE})
    await phone.sign_in("ann")
    await phone.socket(transport="websocket")
    answer = await visitor.get("/account", headers=wants)
    assert answer.headers["Cache-Control"] == "no-store"
    account = answer.json()
    assert (account["user"], account["more"]) == ("ann", 0)
    here, there = account["devices"]
    assert (here["id"], here["current"], here["connections"]) == (id_of(visitor), True, [])
    assert (there["id"], there["current"]) == (id_of(phone), False)
    assert (there["system"], there["connections"]) == ("iOS", ["websocket"])
    assert await visitor.post(f"/account/sessions/{there['id']}/revoke", json={}) == (204, "")
    answer = await visitor.get("/account", headers=wants)
    assert [row["id"] for row in answer.json()["devices"]] == [here["id"]]
