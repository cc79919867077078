"""The pages in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.kit import ROOT, Site, serve

PASSWORD = "correct horse battery"
SCREENSHOT = ROOT / "docs" / "screenshot.png"
FLAGS = [
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
OVER_WEBSOCKET = "Connected by websocket"

pytestmark = pytest.mark.limit(60)


@pytest.fixture
def chromium() -> str:
    """Path of the browser; without one the test is skipped, or in CI fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        import playwright  # noqa: F401
    except ImportError:
        path = None
    if path is None:
        remedy = "no browser: apt-get install chromium && pip install playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    return path


class Person:
    """A person with a browser of their own: one cookie jar, as many tabs as they like."""

    def __init__(self, site: Site, context: Any, expected: Iterable[str]) -> None:
        self.url = site.url
        self.context = context
        self._expected = tuple(expected)
        self.complaints: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            text in message.text for text in self._expected
        ):
            self.complaints.append(f"{message.type}: {message.text}")

    async def tab(self, path: str = "/") -> Any:
        page = await self.context.new_page()
        await page.goto(self.url + path)
        return page


@contextlib.asynccontextmanager
async def person(
    chromium: str, site: Site, *, expected: Iterable[str] = (), **options: Any
) -> AsyncIterator[Person]:
    """Open a browser on this site; what its console complains of, beyond `expected`, fails."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            someone = Person(site, await browser.new_context(**options), expected)
            someone.context.set_default_timeout(10_000)
            yield someone
        finally:
            await browser.close()
    assert someone.complaints == []


async def shows(page: Any, *, count: int | None = None, user: str = "", state: str = "") -> None:
    """Wait until the counter page shows this number, this user and this state."""
    from playwright.async_api import expect

    if user:
        who = "You are a visitor" if user == "visitor" else f"Signed in as {user}"
        await expect(page.locator(".who")).to_have_text(who, timeout=10_000)
    if count is not None:
        await expect(page.locator("#count")).to_have_text(str(count), timeout=10_000)
    if state:
        await expect(page.locator("#state")).to_have_text(state, timeout=10_000)


async def says(page: Any, sentence: str) -> None:
    """Wait until the page says this in its notice."""
    from playwright.async_api import expect

    await expect(page.locator("#notice")).to_contain_text(sentence, timeout=10_000)
    await expect(page.locator("#notice")).to_be_visible()


async def press(page: Any, button: str) -> None:
    await page.get_by_role("button", name=button, exact=True).click()


async def fill(page: Any, name: str, password: str) -> None:
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(password)


async def register(page: Any, name: str) -> None:
    await page.get_by_role("link", name="Register").first.click()
    await fill(page, name, PASSWORD)
    await press(page, "Register and sign in")
    await shows(page, user=name)


async def test_a_newcomer_counts_in_two_tabs_until_signing_out_in_one(
    tmp_path: Path, chromium: str
) -> None:
    """The main job: register, one count from page and socket in two tabs, and one way out."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
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
            await picture(two)

        await press(one, "Sign out")
        await shows(one, count=0, user="visitor")
        await says(two, "You signed out in another tab.")
        await shows(two, count=0, user="visitor", state=OVER_WEBSOCKET)
        assert await two.get_by_role("button", name="Sign out").count() == 0
        await shows(one, state=OVER_WEBSOCKET)
        assert await one.locator("#notice").is_hidden()


async def picture(page: Any) -> None:
    """Write the README's screenshot."""
    await page.set_viewport_size({"width": 960, "height": 580})
    SCREENSHOT.parent.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOT)


async def test_signing_in_shows_in_the_other_tab(tmp_path: Path, chromium: str) -> None:
    """Its socket comes back with the new cookie, and the page with the user; the count stays."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
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
    tmp_path: Path, chromium: str
) -> None:
    """Register, count, sign out, sign in: forms all the way, and the page says what is missing."""
    async with (
        serve(tmp_path) as site,
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


async def test_signing_in_goes_on_to_where_it_was_asked_for(tmp_path: Path, chromium: str) -> None:
    """`next` outlives a wrong password and the way over the register page."""
    async with serve(tmp_path) as site, person(chromium, site, expected=["401"]) as ann:
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
    tmp_path: Path, chromium: str
) -> None:
    """The page waits for the cookie that the handshake is about to bring."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:

        async def slowly(_: Any) -> None:
            await asyncio.sleep(0.5)

        site.services.before_handshake.append(slowly)
        page = await ann.tab()
        await press(page, "Add one from the page")
        await shows(page, count=1, state=OVER_WEBSOCKET)
        await press(page, "Add one from the socket")
        await shows(page, count=2)
        assert len(site.services.sessions.store._records) == 1


async def test_a_page_and_a_socket_of_two_sessions_find_together(
    tmp_path: Path, chromium: str
) -> None:
    """Two tabs that a newcomer opens at once may each get a session; the next click mends it."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
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
        ("reconnect", "expired", "longest life"),
        ("disconnect", "expired", "longest life"),
    ],
)
async def test_a_page_says_why_its_session_ended(
    tmp_path: Path, chromium: str, reaction: str, reason: Any, sentence: str
) -> None:
    """By reconnect it goes on as a visitor, by disconnect it stays away; both with the reason."""
    async with (
        serve(tmp_path, on_session_end=reaction) as site,
        person(chromium, site) as ann,
    ):
        page = await ann.tab()
        await register(page, "Ann")
        await press(page, "Add one from the socket")
        await shows(page, count=1, state=OVER_WEBSOCKET)
        (session_id,) = site.services.sessions.store._records
        assert await site.services.sessions.end(session_id, reason)
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


async def test_a_lost_connection_is_shown_and_comes_back(tmp_path: Path, chromium: str) -> None:
    """While it is gone the socket's button is off; the number is right again afterwards."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        page = await ann.tab()
        await shows(page, count=0, state=OVER_WEBSOCKET)
        await site.services.connections.close_all()
        await shows(page, state="Disconnected, connecting again…")
        assert await page.get_by_role("button", name="Add one from the socket").is_disabled()
        (session_id,) = site.services.sessions.store._records
        async with await site.services.sessions.get(session_id) as data:
            data.count = 41
        await shows(page, count=41, state=OVER_WEBSOCKET)
        await press(page, "Add one from the socket")
        await shows(page, count=42)


async def test_without_the_socketio_client_the_page_says_so_and_works(
    tmp_path: Path, chromium: str
) -> None:
    """No file and no CDN: plain words, what to do about it, and the page's half goes on."""
    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=["ERR_FAILED"]) as ann,
    ):
        await ann.context.route("**/socket.io.min.js*", lambda route: route.abort())
        page = await ann.tab()
        await shows(page, state="No socket: the Socket.IO client could not be loaded.")
        await says(page, "npm")
        await says(page, "The page works without it")
        await press(page, "Add one from the page")
        await shows(page, count=1)
        await page.reload()
        await shows(page, count=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_fit_the_screen(tmp_path: Path, chromium: str, scheme: Any, width: int) -> None:
    """No page is wider than a phone, not even with the longest name; light and dark differ."""
    async with (
        serve(tmp_path) as site,
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
        await page.goto(site.url)
        await register(page, "W" * 64)
        (session_id,) = [
            record.id for record in site.services.sessions.store._records.values() if record.user
        ]
        async with await site.services.sessions.get(session_id) as data:
            data.count = 123_456_789
        await page.goto(site.url)
        await shows(page, count=123_456_789)
        await fits(page, width)
        background = await page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in background[4:-1].split(","))
        assert brightness < 150 if scheme == "dark" else brightness > 600


async def fits(page: Any, width: int) -> None:
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= width
    for button in await page.locator("button:visible, a.button:visible").all():
        box = await button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        assert box["height"] >= 44  # CSS pixels, what a thumb hits (WCAG 2.5.5)


async def test_forms_work_with_the_keyboard_and_password_managers(
    tmp_path: Path, chromium: str
) -> None:
    """Fields have labels and autocomplete, focus can be seen, and Tab goes where the eye goes."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
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
