"""The counter page in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.site import MODULES, serve_handlers
from tests.support.browser_devices import GONE, known, rows, sign_in, two_devices
from tests.support.chromium import (
    OVER_WEBSOCKET,
    accessibility_faults,
    fill,
    fits,
    person,
    press,
    register,
    says,
    shows,
)
from tests.support.cross_site import two_sites
from tests.support.demo.session import SessionData
from tests.support.fork import fork
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.watched_store import WatchedStore

SCREENSHOT = ROOT / "docs" / "screenshot.png"
DESK = """
<style>
  body {{ margin: 0; padding: 20px; display: flex; gap: 20px; background: #d9dee3;
         font: 15px sans-serif; color: #333 }}
  figure {{ margin: 0; flex: 1; background: #fff; border-radius: 10px; overflow: hidden;
           box-shadow: 0 2px 10px #0003 }}
  figcaption {{ padding: 9px 14px; background: #eceff2 }}
  img {{ display: block; width: 100% }}
</style>
<figure><figcaption>Tab 1 · 127.0.0.1:8888</figcaption><img src="data:image/png;base64,{}"></figure>
<figure><figcaption>Tab 2 · 127.0.0.1:8888</figcaption><img src="data:image/png;base64,{}"></figure>
"""
pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]


async def test_a_newcomer_counts_in_two_tabs_until_signing_out_in_one(
    tmp_path: Path, chromium: Any
) -> None:
    """The main job: register, one count from page and socket in two tabs, and one way out."""
    async with serve_handlers(tmp_path) as site, person(chromium, site) as ann:
        one = await ann.tab()
        await register(one, "Ann")
        await shows(one, count=0, state=OVER_WEBSOCKET)
        await press(one, "Add one from the page")
        await shows(one, count=1)
        await press(one, "Add one from the socket")
        await shows(one, count=2)

        two = await ann.tab()
        await shows(two, count=2, user="Ann", state=OVER_WEBSOCKET)
        await press(two, "Add one from the socket")
        await shows(two, count=3)
        await shows(one, count=3)
        await press(one, "Add one from the page")
        await shows(two, count=4)
        if os.environ.get("UPDATE_SCREENSHOTS") == "1":
            await picture(one, two)

        await press(one, "Sign out")
        await shows(one, count=0, user="visitor")
        await says(two, "You signed out in another tab.")
        await shows(two, count=0, user="visitor", state=OVER_WEBSOCKET)
        assert await two.get_by_role("button", name="Sign out").count() == 0
        await shows(one, state=OVER_WEBSOCKET)
        assert await one.locator("#notice").is_hidden()


async def not_now(page: Any, why: str) -> None:
    """Wait until the page asks Ann to sign in in place, and decline."""
    from playwright.async_api import expect

    await expect(page.get_by_role("dialog")).to_contain_text(why, timeout=10_000)
    await press(page, "Not now")


async def picture(one: Any, two: Any) -> None:
    """Write the README's picture: both tabs beside each other."""
    shots = []
    for tab in (one, two):
        await tab.set_viewport_size({"width": 520, "height": 560})
        shots.append(base64.b64encode(await tab.screenshot()).decode())
    desk = await one.context.new_page()
    await desk.set_viewport_size({"width": 1120, "height": 640})
    await desk.set_content(DESK.format(*shots))
    SCREENSHOT.parent.mkdir(exist_ok=True)
    await desk.screenshot(path=SCREENSHOT)
    await desk.close()


async def test_signing_in_shows_in_the_other_tab(tmp_path: Path, chromium: Any) -> None:
    """Its socket comes back with the new cookie, and the page with the user; the count stays."""
    async with serve_handlers(tmp_path) as site, person(chromium, site) as ann:
        one, two = await ann.tab(), await ann.tab()
        await shows(one, state=OVER_WEBSOCKET)
        await shows(two, state=OVER_WEBSOCKET)
        await one.reload()
        await shows(one, user="visitor", state=OVER_WEBSOCKET)
        await press(one, "Add one from the socket")
        await shows(one, count=1)
        await register(one, "Ann")
        await shows(two, count=1, user="Ann", state=OVER_WEBSOCKET)
        assert await two.locator("#notice").is_hidden()
        await press(two, "Add one from the page")
        await shows(one, count=2, user="Ann")


async def test_everything_but_the_socket_works_without_scripts(
    tmp_path: Path, chromium: Any
) -> None:
    """Register, count, sign out, sign in: forms all the way, and the page says what is missing."""
    async with (
        serve_handlers(tmp_path) as site,
        person(chromium, site, java_script_enabled=False, expected=["401"]) as ann,
    ):
        page = await ann.tab()
        assert await page.locator("noscript p").is_visible()
        await press(page, "Add one from the page")
        await shows(page, count=1, user="visitor")
        await register(page, "Ann")
        await press(page, "Add one from the page")
        await shows(page, count=2, user="Ann", state="No socket")
        assert await page.get_by_role("button", name="Add one from the socket").is_disabled()
        await press(page, "Sign out")
        await shows(page, count=0, user="visitor")
        await page.get_by_role("link", name="Sign in").click()
        await fill(page, "ann", "wrong wrong wrong")
        await press(page, "Sign in")
        assert await page.get_by_role("alert").inner_text() == "Wrong name or wrong password."
        assert await page.get_by_label("Name").input_value() == "ann"
        assert await page.get_by_label("Password").input_value() == ""
        await fill(page, "ann", PASSWORD)
        await press(page, "Sign in")
        await shows(page, user="Ann")


async def test_signing_in_goes_on_to_where_it_was_asked_for(tmp_path: Path, chromium: Any) -> None:
    """`next` outlives a wrong password and the way over the register page."""
    async with serve_handlers(tmp_path) as site, person(chromium, site, expected=["401"]) as ann:
        await site.services.accounts.register("Ann", PASSWORD)
        page = await ann.tab("/login?next=/%3Fseen%3D1")
        await fill(page, "ann", "wrong wrong wrong")
        await press(page, "Sign in")
        assert await page.get_by_label("Password").evaluate("it => it === document.activeElement")
        await page.get_by_role("main").get_by_role("link", name="Register").click()
        await page.get_by_role("main").get_by_role("link", name="Sign in").click()
        await fill(page, "ann", PASSWORD)
        await page.keyboard.press("Enter")
        await page.wait_for_url(site.url + "/?seen=1")
        await shows(page, user="Ann", state=OVER_WEBSOCKET)


async def test_a_first_click_before_the_handshake_makes_no_second_session(
    tmp_path: Path, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page waits for the cookie that the handshake is about to bring."""

    async def slowly(_: Any) -> None:
        await asyncio.sleep(0.5)

    store, (*_, module) = WatchedStore(), fork(monkeypatch, before_handshake=slowly)
    async with (
        serve_handlers(tmp_path, module, store=store) as site,
        person(chromium, site) as ann,
    ):
        page = await ann.tab()
        await press(page, "Add one from the page")
        await shows(page, count=1, state=OVER_WEBSOCKET)
        await press(page, "Add one from the socket")
        await shows(page, count=2)
        assert len(store.ids) == 1


async def test_a_page_and_a_socket_of_two_sessions_find_together(
    tmp_path: Path, chromium: Any
) -> None:
    """Two tabs that a newcomer opens at once may each get a session; the next click mends it."""
    async with serve_handlers(tmp_path) as site, person(chromium, site) as ann:
        page = await ann.tab()
        await shows(page, state=OVER_WEBSOCKET)
        await ann.context.clear_cookies()
        await press(page, "Add one from the page")
        await shows(page, count=1, state=OVER_WEBSOCKET)
        await press(page, "Add one from the socket")
        await shows(page, count=2)


@pytest.mark.parametrize(
    ("reaction", "reason", "sentence"),
    [
        ("reconnect", "revoked", "signed out from another device"),
        ("reconnect", "idle", "without activity"),
        ("reconnect", "expired", "reached its maximum age"),
        ("disconnect", "expired", "reached its maximum age"),
    ],
)
async def test_a_page_says_why_its_session_ended(
    tmp_path: Path, chromium: Any, reaction: str, reason: Any, sentence: str
) -> None:
    """By reconnect it goes on as a visitor, by disconnect it stays away; both with the reason."""
    store = WatchedStore()
    async with (
        serve_handlers(tmp_path, store=store, on_session_end=reaction) as site,
        person(chromium, site) as ann,
    ):
        page = await ann.tab()
        await register(page, "Ann")
        await press(page, "Add one from the socket")
        await shows(page, count=1, state=OVER_WEBSOCKET)
        (session_id,) = store.ids
        assert await site.services.sessions.end(session_id, reason)
        if reason != "logout":
            await not_now(page, sentence)
        await says(page, sentence)
        if reaction == "reconnect":
            await shows(page, count=0, user="visitor", state=OVER_WEBSOCKET)
            await says(page, sentence)
            await press(page, "Add one from the socket")
            await shows(page, count=1)
            assert await page.locator("#notice").is_hidden()
        else:
            stays = "Disconnected. Reload this page to begin a new session."
            await shows(page, state=stays)
            await asyncio.sleep(2)
            await shows(page, user="Ann", state=stays)
            assert await page.get_by_role("button", name="Add one from the socket").is_disabled()


async def test_a_lost_connection_is_shown_and_comes_back(tmp_path: Path, chromium: Any) -> None:
    """While it is gone the socket's button is off; the number is right again afterwards."""
    store = WatchedStore()
    async with serve_handlers(tmp_path, store=store) as site, person(chromium, site) as ann:
        page = await ann.tab()
        await shows(page, count=0, state=OVER_WEBSOCKET)
        await site.services.connections.close_all()
        await shows(page, state="Disconnected, connecting again…")
        assert await page.get_by_role("button", name="Add one from the socket").is_disabled()
        (session_id,) = store.ids
        async with await site.services.sessions.session_for(session_id) as data:
            data.count = 41
        await shows(page, count=41, state=OVER_WEBSOCKET)
        await press(page, "Add one from the socket")
        await shows(page, count=42)


@pytest.mark.asvs("3.7.5")
async def test_without_the_socketio_client_the_page_says_so_and_works(
    tmp_path: Path, chromium: Any
) -> None:
    """No file and no CDN: plain words, what to do about it, and the page's half goes on."""
    async with (
        serve_handlers(tmp_path) as site,
        person(chromium, site, expected=["ERR_FAILED"]) as ann,
    ):
        await ann.context.route("**/socket.io.min.js*", lambda route: route.abort())
        page = await ann.tab()
        await shows(page, state="No socket: the Socket.IO client could not be loaded.")
        await says(page, "build Latchkey again")
        await says(page, "The page works without it")
        await press(page, "Add one from the page")
        await shows(page, count=1)
        await page.reload()
        await shows(page, count=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_fit_the_screen(tmp_path: Path, chromium: Any, scheme: Any, width: int) -> None:
    """No page is wider than a phone, not even with the longest name; light and dark differ."""
    store = WatchedStore()
    async with (
        serve_handlers(tmp_path, store=store) as site,
        person(
            chromium,
            site,
            expected=["404"],
            color_scheme=scheme,
            viewport={"width": width, "height": 740},
        ) as ann,
    ):
        page = await ann.tab()
        for path in ("/", "/login", "/register", "/nowhere"):
            await page.goto(site.url + path)
            await fits(page, width)
            assert await accessibility_faults(page) == [], path
        await page.goto(site.url)
        await register(page, "W" * 64)
        (session_id,) = [record.id for record in store.records if record.user]
        async with await site.services.sessions.session_for(session_id) as data:
            data.count = 123_456_789
        await page.goto(site.url)
        await shows(page, count=123_456_789)
        await fits(page, width)
        background = await page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in background[4:-1].split(","))
        assert brightness < 150 if scheme == "dark" else brightness > 600


@pytest.mark.asvs("6.2.7")
async def test_forms_work_with_the_keyboard_and_password_managers(
    tmp_path: Path, chromium: Any
) -> None:
    """Fields have labels and autocomplete, focus can be seen, and Tab goes where the eye goes."""
    async with serve_handlers(tmp_path) as site, person(chromium, site) as ann:
        for path, kind in (("/login", "current-password"), ("/register", "new-password")):
            page = await ann.tab(path)
            name, password = page.get_by_label("Name"), page.get_by_label("Password")
            assert await name.get_attribute("autocomplete") == "username"
            assert await password.get_attribute("autocomplete") == kind
            assert await name.evaluate("it => it === document.activeElement")
            await page.keyboard.type("Ann")
            await page.keyboard.press("Tab")
            assert await password.evaluate("it => it === document.activeElement")
            outline = "it => getComputedStyle(it).outlineStyle + getComputedStyle(it).outlineWidth"
            assert await password.evaluate(outline) == "solid3px"
        await page.keyboard.type(PASSWORD)
        await page.keyboard.press("Enter")
        await shows(page, user="Ann", state=OVER_WEBSOCKET)


async def test_the_counter_of_a_revoked_device_says_so(tmp_path: Path, chromium: Any) -> None:
    """Any page does: it goes on as a visitor's, with the reason and the way back."""
    async with serve_handlers(tmp_path) as site, two_devices(chromium, site) as (laptop, phone):
        await known(site)
        here, there = await sign_in(laptop), await sign_in(phone, "/")
        await shows(there, user="Ann", state=OVER_WEBSOCKET)
        await rows(here, 2)
        await press(here, "Sign out everywhere else")
        await not_now(there, GONE)
        await shows(there, user="visitor", state=OVER_WEBSOCKET)
        await says(there, GONE)
        await there.get_by_role("link", name="Sign in again").click()
        await there.wait_for_url(site.url + "/login?next=%2F")
        await says(here, "You are signed out everywhere else.")
        await rows(here, 1)


async def test_a_framed_site_works_for_a_frame_ancestor(tmp_path: Path, chromium: Any) -> None:
    """With SameSite=None the frame has its session and its socket."""
    options: dict[str, Any] = {"framed": True, "expected": ("Blocked autofocusing",)}
    async with two_sites(tmp_path, chromium, modules=MODULES, data_type=SessionData, **options) as (
        place,
        ann,
    ):
        place.frame = "/"
        page = await ann.tab()
        frame = page.frames[1]
        await register(frame, "Ann")
        await press(frame, "Add one from the page")
        await shows(frame, count=1, user="Ann", state=OVER_WEBSOCKET)
        await press(frame, "Add one from the socket")
        await shows(frame, count=2)
