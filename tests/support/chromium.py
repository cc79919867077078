"""Chromium, driven by Playwright, and the steps of a person in it."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

from tests.support.forms import PASSWORD
from tests.support.node_client import axe
from tests.support.requirements import skip

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
# a session may end in the middle of an upgrade
CUT = "WebSocket is closed before the connection is established"
BUTTONS = """() => [...document.querySelectorAll("button, a.button")]
    .filter((button) => button.checkVisibility())
    .map((button) => button.getBoundingClientRect())
    .map(({left, right, height}) => [left, right, height])"""
AXE = """async () => (await axe.run({resultTypes: ["violations"]})).violations.map(
    ({id, nodes}) => id + ": " + nodes.map((node) => node.html + " " + node.failureSummary))"""


# the headless shell takes half the CPU
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")


def path() -> str:
    """Path of the browser; without one the test is skipped, or in CI fails."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    try:
        import playwright  # noqa: F401
    except ImportError:
        found = None
    return found or skip(
        "no browser: apt-get install chromium-headless-shell && pip install playwright"
    )


class Served(Protocol):
    """A site, in this process or another one."""

    url: str


_TIMEOUT = 15_000  # milliseconds for what a page shows, on a busy machine


class Person:
    """A person with a browser of their own: one cookie jar, as many tabs as they like."""

    def __init__(self, site: Served, context: Any, expected: Iterable[str]) -> None:
        self.url = site.url
        self.context = context
        # the Socket.IO client may write while its WebSocket closes; it sends the packet again
        self._expected = (*expected, "already in CLOSING or CLOSED")
        self.errors: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(
            text in message.text for text in self._expected
        ):
            self.errors.append(f"{message.type}: {message.text}")

    async def tab(self, path: str = "/") -> Any:
        page = await self.context.new_page()
        await page.goto(self.url + path)
        return page


@contextlib.asynccontextmanager
async def launched() -> AsyncIterator[Any]:
    """Start a browser; a start takes as much CPU as a test with it does."""
    program = path()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def person(
    chromium: Any, site: Served, *, expected: Iterable[str] = (), **options: Any
) -> AsyncIterator[Person]:
    """Open a private window on this site; console errors without an `expected` part fail the test.

    A window has cookies, a cache and connections of its own.
    """
    from playwright.async_api import expect

    expect.set_options(timeout=_TIMEOUT)
    context = await chromium.new_context(**options)
    try:
        context.set_default_timeout(_TIMEOUT)
        someone = Person(site, context, expected)
        yield someone
    finally:
        await context.close()
    assert someone.errors == [], someone.errors


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


async def fits(page: Any, width: int) -> None:
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= width
    # measured at once, because a live page may replace a button meanwhile
    for left, right, height in await page.evaluate(BUTTONS):
        assert left >= 0
        assert right <= width
        assert height >= 44  # CSS pixels, enough for a thumb (WCAG 2.5.5)


async def accessibility_faults(page: Any) -> list[str]:
    """Return the faults that axe-core finds on this page."""
    await page.evaluate(axe())
    faults: list[str] = await page.evaluate(AXE)
    return faults
