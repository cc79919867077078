"""The operator's pages in a real browser, and what a second administrator and the user see."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.accounts import account_id
from tests.support.admins import each_place, two_places
from tests.support.browsers import joined
from tests.support.chromium import CUT, Person, accessibility_faults, fits, person, press
from tests.support.devices import FIREFOX, IPHONE
from tests.support.forms import PASSWORD, known
from tests.support.postgres import Postgres
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

pytestmark = [pytest.mark.limit(90), pytest.mark.asyncio(loop_scope="session")]

GONE = "You were signed out from another device or by this site."


async def sign_in(someone: Person, name: str, path: str) -> Any:
    """Sign in on this device; return a tab with the page."""
    page = await someone.tab("/login?next=" + path)
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await press(page, "Sign in")
    await page.wait_for_url(someone.url + path)
    return page


async def made(site: Site, *names: str) -> str:
    """Make administrators of these names, and ann; return her account id."""
    await known(site, "ann", *names)
    for name in names:
        await site.services.roles.set(await account_id(site, name), add=["admin"])
    return await account_id(site, "ann")


async def has(page: Any, *words: str) -> None:
    """Wait until the page of an account shows these words."""
    from playwright.async_api import expect

    for each in words:
        await expect(page.locator("main")).to_contain_text(each, timeout=10_000)


async def live(page: Any) -> None:
    """Wait until the page follows what happens."""
    from playwright.async_api import expect

    await expect(page.locator("#state")).to_have_text("Live: changes show at once")


async def confirmed(page: Any, button: str, sure: str) -> None:
    """Press a button that asks, and confirm."""
    await press(page, button)
    await press(page, sure)


@each_place
async def test_each_action_is_seen_by_others(
    tmp_path: Path, chromium: Any, kind: str, postgres: Postgres
) -> None:
    """By another administrator who looks at the account, and by the user, at another process."""
    from playwright.async_api import expect

    expected = (CUT, "400", "403", "404", "401")
    async with (
        two_places(tmp_path, kind, postgres) as (here, there),
        person(chromium, here, expected=expected) as root,
        person(chromium, there, expected=expected) as boss,
        person(chromium, there, expected=expected, user_agent=FIREFOX) as ann,
    ):
        id = await made(here, "root", "boss")
        path = f"/admin/accounts/{id}"
        page = await sign_in(root, "root", path)
        other = await sign_in(boss, "boss", path)
        await live(other)
        await has(other, "Nobody is signed in to this account.")

        theirs = await sign_in(ann, "ann", "/account")
        await live(theirs)
        for seen in (page, other):
            await has(seen, "Firefox 132 on Linux", "Connected by websocket")
        await press(page, "End the session Firefox 132 on Linux")
        await expect(theirs.get_by_role("dialog")).to_contain_text(GONE)
        await has(other, "Nobody is signed in to this account.", "session end by root")

        theirs = await sign_in(ann, "ann", "/account")
        await live(theirs)
        await confirmed(page, "End all sessions…", "End all sessions")
        await expect(theirs.get_by_role("dialog")).to_contain_text(GONE)
        await has(other, "Nobody is signed in to this account.")

        await page.get_by_label("Add a role").fill("moderator")
        await press(page, "Add")
        await has(other, "moderator")
        await page.get_by_label("New name").fill("anna")
        await press(page, "Rename")
        await has(other, "anna")

        theirs = await sign_in(ann, "anna", "/account")
        await live(theirs)
        await press(page, "Sign in as anna")
        await page.wait_for_url(here.url + "/")
        await expect(
            page.get_by_text("You are signed in as anna, as administrator root.")
        ).to_be_visible()
        await has(other, "Administrator root, signed in as this user")
        await expect(theirs.locator("#devices")).to_contain_text("Administrator root")
        await press(page, "Stop")
        await page.wait_for_url(here.url + path + "?done=stopped")
        await expect(other.locator("#live")).not_to_contain_text("signed in as this user")
        await expect(theirs.locator("#devices")).not_to_contain_text("Administrator root")

        await confirmed(page, "Disable…", "Disable account")
        await expect(theirs.get_by_role("dialog")).to_contain_text(GONE)
        await has(other, "disabled since")
        await press(page, "Enable")
        await has(other, "may sign in")
        await confirmed(page, "Delete…", "Delete account")
        await expect(page.get_by_text("The account is deleted.")).to_be_visible()
        await has(other, "This account is deleted.")


async def test_an_administrator_who_is_dismissed_sees_nothing_more(
    tmp_path: Path, chromium: Any
) -> None:
    """The page says so at once, without what it showed."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=(CUT, "403", "404")) as boss,
    ):
        id = await made(site, "root", "boss")
        page = await sign_in(boss, "boss", f"/admin/accounts/{id}")
        await live(page)
        await site.services.roles.set(await account_id(site, "boss"), remove=["admin"])
        await expect(page.get_by_role("alert")).to_contain_text("You may not use these pages")
        assert await page.locator("#live").count() == 0
        assert id not in await page.content()


async def test_the_overview_is_live(tmp_path: Path, chromium: Any) -> None:
    """Connections and events are counted while the page is open."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=(CUT,)) as root,
        Visitor(site.url) as ann,
    ):
        await made(site, "root")
        page = await sign_in(root, "root", "/admin")
        await live(page)
        connections = page.locator("[data-count=connections]")
        await expect(connections).to_have_text("1")
        await ann.sign_in("ann")
        sockets = [await joined(ann, "websocket") for _ in range(3)]
        await expect(connections).to_have_text("4")
        await expect(page.locator("[data-count=users]")).to_have_text("2")
        await expect(page.locator("[data-count=sign_ins]")).to_have_text("2")
        plot = page.locator("[data-plot=connections] svg")
        await expect(plot).to_have_attribute(
            "aria-label", "Connections in the last hour: now 4, scale up to 4"
        )
        for socket in sockets:
            await socket.close()
        await expect(connections).to_have_text("1")


async def test_times_are_those_of_the_browser(tmp_path: Path, chromium: Any) -> None:
    """Also in a part of the page that a change has renewed; their titles are in UTC."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, timezone_id="Asia/Kathmandu", locale="en-GB") as root,
    ):
        id = await made(site, "root")
        page = await sign_in(root, "root", f"/admin/accounts/{id}")
        await live(page)
        await press(page, "Disable…")
        await press(page, "Disable account")
        time = page.locator("#live time").first
        await expect(page.locator("#live")).to_contain_text("disabled since")
        at = datetime.fromisoformat(await time.get_attribute("datetime"))
        await expect(time).to_have_attribute("title", f"{at:%Y-%m-%d %H:%M} UTC")
        shown = at.astimezone(ZoneInfo("Asia/Kathmandu"))
        await expect(time).to_have_text(f"{shown.day} {shown:%b %Y, %H:%M}")


async def test_it_works_by_keyboard(tmp_path: Path, chromium: Any) -> None:
    """Tab reaches a session's button; when the row goes, the focus goes to the heading."""
    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=(CUT,)) as root,
        Visitor(site.url, **{"User-Agent": IPHONE}) as ann,
    ):
        id = await made(site, "root")
        await ann.sign_in("ann")
        page = await sign_in(root, "root", f"/admin/accounts/{id}")
        await live(page)
        await has(page, "Mobile Safari 17 on iOS")
        focused = "() => document.activeElement.id || document.activeElement.textContent"

        async def tab_to(word: str) -> None:
            for _ in range(30):
                await page.keyboard.press("Tab")
                if word in await page.evaluate(focused):
                    return
            raise AssertionError(word)

        await tab_to("end-")
        outline = "() => getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"
        await ann.sign_out()
        await has(page, "Nobody is signed in")
        await page.wait_for_function("() => document.activeElement.id === 'sessions-title'")
        await tab_to("Disable")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/disable")
        await tab_to("Disable account")
        await page.keyboard.press("Enter")
        await has(page, "disabled since")


@pytest.mark.asvs("3.7.5")
async def test_all_of_it_works_without_scripts(tmp_path: Path, chromium: Any) -> None:
    """Forms all the way: search, role, link, sign in as and stop, disable, enable, delete."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, java_script_enabled=False) as root,
        Visitor(site.url, **{"User-Agent": FIREFOX}) as ann,
    ):
        await made(site, "root")
        await ann.sign_in("ann")
        page = await sign_in(root, "root", "/admin")
        await expect(page.locator("svg polyline")).to_have_count(3)
        await page.get_by_label("Search accounts").fill("AN")
        await press(page, "Search")
        await page.get_by_role("link", name="ann").click()
        await press(page, "End the session Firefox 132 on Linux")
        await expect(page.get_by_role("status").first).to_have_text("The session has ended.")
        await page.get_by_label("Add a role").fill("editor")
        await press(page, "Add")
        await press(page, "Remove the role editor")
        await expect(page.locator("#live .badge")).to_have_count(0)
        await press(page, "Make a link")
        assert "/reset" in await page.get_by_label("Link", exact=True).input_value()
        await page.get_by_role("link", name="Back to ann").click()
        await press(page, "Sign in as ann")
        await expect(page.locator(".acting")).to_contain_text("as administrator root")
        await press(page, "Stop")
        await expect(page.locator(".acting")).to_have_count(0)
        await confirmed(page, "Disable…", "Disable account")
        await press(page, "Enable")
        await press(page, "Delete…")
        await page.get_by_role("link", name="Cancel").click()
        await confirmed(page, "Delete…", "Delete account")
        await expect(page.get_by_text("The account is deleted.")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_are_accessible(tmp_path: Path, chromium: Any, scheme: Any, width: int) -> None:
    """axe-core finds nothing on any page, at both widths and in both colours, and all fits."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=("400", "403", "404", "422", CUT), **options) as root,
        Visitor(site.url, **{"User-Agent": IPHONE}) as ann,
    ):
        id = await made(site, "root")
        await site.services.accounts.add("somebody with quite a long name, who is not the last one")
        await site.services.roles.set(id, add=["moderator"])
        await ann.sign_in("ann")
        await joined(ann, "polling")
        page = await sign_in(root, "root", "/admin")

        async def check(name: str) -> None:
            assert await accessibility_faults(page) == [], name
            await fits(page, width)

        await live(page)
        await check("overview")
        await page.goto(site.url + "/admin/accounts")
        await check("accounts")
        await page.goto(site.url + f"/admin/accounts/{id}")
        await live(page)
        await check("account")
        await press(page, "Delete…")
        await check("confirm")
        await page.get_by_role("link", name="Cancel").click()
        await page.get_by_label("Add a role").fill("no role!")
        await press(page, "Add")
        await check("refused")
        await press(page, "Make a link")
        await check("link")
        await page.get_by_role("link", name="Back to ann").click()
        await press(page, "Sign in as ann")
        await page.goto(site.url + "/account")
        await live(page)
        await check("devices")
        await press(page, "Stop")
        await live(page)
        await site.services.roles.set(await account_id(site, "root"), remove=["admin"])
        await page.get_by_role("alert").wait_for()
        await check("gone")
