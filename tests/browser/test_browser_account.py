"""The account page in a real browser: two contexts are two devices of one person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import account_id
from tests.support.browser_devices import GONE, known, rows, sign_in, two_devices
from tests.support.chromium import (
    CUT,
    accessibility_faults,
    fits,
    person,
    press,
    says,
    shows,
)
from tests.support.clock import Clock
from tests.support.devices import FIREFOX, IPHONE, NEW
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]

SCREENSHOT = ROOT / "docs" / "account.png"


async def live(page: Any) -> None:
    """Wait until the page follows what happens."""
    from playwright.async_api import expect

    await expect(page.locator("#state")).to_have_text("Live: changes show at once")


async def is_gone(page: Any, why: str) -> None:
    """Wait until the page says why its session is over, and shows nothing of the person.

    But for a sign-out it asks Ann to sign in in place, who does not want to now.
    """
    from playwright.async_api import expect

    if "signed out in another tab" not in why:
        await expect(page.get_by_role("dialog")).to_contain_text(why, timeout=10_000)
        await press(page, "Not now")
    await expect(page.get_by_role("alert")).to_contain_text(why, timeout=10_000)
    assert "Ann" not in await page.locator("body").inner_text()
    assert await page.locator("#devices").count() == 0


@pytest.mark.asvs("6.3.5")
async def test_a_device_comes_and_is_signed_out_from_another(tmp_path: Path, chromium: Any) -> None:
    """Its row appears, tells its transport, and goes; its page says why and leads back."""
    from playwright.async_api import expect

    async with serve(tmp_path) as site, two_devices(chromium, site) as (laptop, phone):
        await known(site)
        here = await sign_in(laptop)
        await live(here)
        await rows(here, 1)
        there = await sign_in(phone)
        row = (await rows(here, 2)).filter(has_text="Mobile Safari 17 on iOS")
        await says(here, "Mobile Safari 17 on iOS (127.0.0.1) has signed in. If that was not you")
        await expect(row).to_contain_text("Connected by websocket")
        await expect(row.locator("[data-seen]")).to_have_text("just now")
        tab = await phone.tab("/account")
        await expect(row).to_contain_text("Connected by websocket (2)")
        await tab.close()
        await expect(row.get_by_text("This device")).to_be_hidden()
        await expect((await rows(here, 2)).first.get_by_text("This device")).to_be_visible()
        await live(there)
        if os.environ.get("UPDATE_SCREENSHOTS") == "1":
            await here.set_viewport_size({"width": 960, "height": 620})
            await here.screenshot(path=SCREENSHOT)

        await row.get_by_role("button").click()
        await is_gone(there, GONE)
        await rows(here, 1)
        await says(here, "Mobile Safari 17 on iOS is signed out.")
        await there.get_by_role("link", name="Sign in again").click()
        await there.wait_for_url(site.url + "/login?next=%2Faccount")
        await there.get_by_label("Name").fill("Ann")
        await there.get_by_label("Password").fill(PASSWORD)
        await press(there, "Sign in")
        await rows(there, 2)
        await rows(here, 2)


@pytest.mark.asvs("6.3.7")
async def test_a_password_is_changed(tmp_path: Path, chromium: Any) -> None:
    """The other device is out at once; this one's other tab goes on under the new id."""
    async with (
        serve(tmp_path) as site,
        two_devices(chromium, site, expected=("403", "401")) as (laptop, phone),
    ):
        await known(site)
        here, there = await sign_in(laptop, "/account/sign-in"), await sign_in(phone)
        tab = await laptop.tab("/account")
        await live(tab)
        await live(there)
        await here.get_by_label("Old password").fill("wrong wrong wrong")
        await here.get_by_label("New password").fill(NEW)
        await press(here, "Change password")
        assert await here.get_by_role("alert").inner_text() == "Wrong password."
        old = here.get_by_label("Old password")
        assert await old.evaluate("it => it === document.activeElement")
        assert await old.input_value() == ""
        await old.fill(PASSWORD)
        await here.get_by_label("New password").fill(NEW)
        await press(here, "Change password")
        await says(here, "Your password is changed")
        await is_gone(there, GONE)
        await rows(tab, 1)
        await live(tab)


async def test_an_account_is_deleted(tmp_path: Path, chromium: Any) -> None:
    """Every device is out, and the name is nobody's."""
    async with serve(tmp_path) as site, two_devices(chromium, site) as (laptop, phone):
        await known(site)
        here, there = await sign_in(laptop, "/account/delete"), await sign_in(phone)
        await live(there)
        await here.get_by_label("Password, to confirm").fill(PASSWORD)
        await press(here, "Delete account")
        await shows(here, user="visitor")
        await is_gone(there, GONE)
        assert await site.services.accounts.verify("Ann", PASSWORD) is None


async def test_a_browser_that_signs_out_everywhere_forgets_the_site(
    tmp_path: Path, chromium: Any
) -> None:
    """What a page of the site has stored is gone, and so are the other devices."""
    async with serve(tmp_path) as site, two_devices(chromium, site) as (laptop, phone):
        await known(site)
        here, there = await sign_in(laptop), await sign_in(phone)
        await live(there)
        await here.evaluate("() => { localStorage.draft = 'mine'; }")
        await press(here, "Sign out everywhere")
        await here.wait_for_url(site.url + "/login")
        assert await here.evaluate("() => localStorage.draft") is None
        await is_gone(there, GONE)


async def test_personal_data_are_downloaded(tmp_path: Path, chromium: Any) -> None:
    """By a link on the section, as a file."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        await known(site)
        page = await sign_in(ann)
        await page.get_by_role("link", name="Personal data").click()
        async with page.expect_download() as begun:
            await page.get_by_role("link", name="Download as JSON").click()
        download = await begun.value
        assert download.suggested_filename == "account.json"
        await download.save_as(tmp_path / "account.json")
        assert '"name": "Ann"' in (tmp_path / "account.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("reaction", ["reconnect", "disconnect"])
async def test_a_session_expires(tmp_path: Path, chromium: Any, reaction: str) -> None:
    """The page says so by itself, and the other device sees the row go."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05, on_session_end=reaction) as site,
        two_devices(chromium, site) as (laptop, phone),
    ):
        await known(site)
        there = await sign_in(phone)
        await live(there)
        clock.now += 86_000
        here = await sign_in(laptop)
        await rows(here, 2)
        await live(here)
        clock.now += 500
        await is_gone(there, "Your session expired")
        await rows(here, 1)


async def test_signing_out_in_another_tab_shows(tmp_path: Path, chromium: Any) -> None:
    """The account page of a browser that signed out elsewhere shows nothing more."""
    async with serve(tmp_path) as site, person(chromium, site, expected=[CUT]) as ann:
        await known(site)
        one = await sign_in(ann)
        two = await ann.tab("/")
        await live(one)
        await press(two, "Sign out")
        await is_gone(one, "You signed out in another tab.")


@pytest.mark.asvs("3.7.5")
async def test_all_of_it_works_without_scripts(tmp_path: Path, chromium: Any) -> None:
    """Forms all the way: one device, all others, the password, the account."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, java_script_enabled=False, user_agent=FIREFOX) as ann,
        Visitor(site.url, **{"User-Agent": IPHONE}) as phone,
    ):
        await known(site)
        page = await sign_in(ann)
        for button in ("Sign out Mobile Safari 17 on iOS", "Sign out everywhere else"):
            await phone.sign_in("Ann", PASSWORD)
            await page.reload()
            await expect((await rows(page, 2)).last).to_contain_text("UTC")
            await press(page, button)
            await rows(page, 1)
            assert await page.get_by_role("button", name="Sign out everywhere else").count() == 0
        await page.get_by_role("link", name="Sign-in methods").click()
        await page.get_by_label("Old password").fill(PASSWORD)
        await page.get_by_label("New password").fill(NEW)
        await press(page, "Change password")
        await says(page, "Your password is changed")
        await page.get_by_role("link", name="Delete account").click()
        await page.get_by_label("Password, to confirm").fill(NEW)
        await press(page, "Delete account")
        await shows(page, user="visitor")


async def test_a_device_is_signed_out_by_keyboard(tmp_path: Path, chromium: Any) -> None:
    """Tab reaches each button, its focus shows, and it is not lost with the row."""
    async with serve(tmp_path) as site, two_devices(chromium, site) as (laptop, phone):
        await known(site)
        await sign_in(phone)
        here = await sign_in(laptop)
        await live(here)
        await rows(here, 2)
        wanted = here.get_by_role("button", name="Sign out Mobile Safari 17 on iOS")
        for _ in range(12):
            await here.keyboard.press("Tab")
            if await wanted.evaluate("it => it === document.activeElement"):
                break
        outline = "it => getComputedStyle(it).outlineStyle + getComputedStyle(it).outlineWidth"
        assert await wanted.evaluate(outline) == "solid3px"
        # a list that comes in meanwhile must not move the focus
        site.services.device_watchers.changed(await account_id(site, "Ann"))
        await here.keyboard.press("Enter")
        await rows(here, 1)
        assert await here.evaluate("() => document.activeElement.id") == "devices-title"


async def test_that_there_are_more_devices_is_said_as_long_as_it_is_true(
    tmp_path: Path, chromium: Any
) -> None:
    """Beside a hundred rows; not any more once a list has come that is shorter."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        await known(site)
        page = await sign_in(ann)
        sessions, user_id = site.services.sessions, await account_id(site, "Ann")
        made = [
            await sessions.create(remote_address="", user_agent="", user_id=user_id)
            for _ in range(101)
        ]
        await page.reload()
        await rows(page, 100)
        await live(page)
        assert await page.locator("#more").is_visible()
        for record in made[2:]:
            await sessions.end(record.id, "revoked")
        await rows(page, 3)
        assert await page.locator("#more").is_hidden()


@pytest.mark.asvs("3.2.2")
@pytest.mark.attack("A17")
async def test_a_name_of_markup_stays_text_in_live_rows(tmp_path: Path, chromium: Any) -> None:
    """What a device calls itself reaches the page as text, by page and by socket alike."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        await known(site)
        page = await sign_in(ann)
        await live(page)
        of_records = site.services.devices.of_records

        async def evil(*arguments: Any) -> Any:
            import msgspec

            found = await of_records(*arguments)
            markup = "<img src=x onerror=alert(1)>"
            for id, device in found.items():
                found[id] = msgspec.structs.replace(
                    device, browser=markup, system=markup, address=markup
                )
            return found

        site.services.devices.of_records = evil
        site.services.device_watchers.changed(await account_id(site, "Ann"))
        from playwright.async_api import expect

        await expect((await rows(page, 1)).first).to_contain_text("<img src=x onerror=alert(1)>")
        assert await page.locator("#devices img").count() == 0
        await page.reload()
        await expect((await rows(page, 1)).first).to_contain_text("<img src=x onerror=alert(1)>")
        assert await page.locator("#devices img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_pages_are_accessible(tmp_path: Path, chromium: Any, scheme: Any, width: int) -> None:
    """axe-core finds nothing on any page, at both widths and in both colours, and all fits."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=["404", "403", CUT], user_agent=FIREFOX, **options) as ann,
        Visitor(site.url, **{"User-Agent": IPHONE}) as phone,
    ):
        await known(site)

        async def check(page: Any, name: str) -> None:
            assert await accessibility_faults(page) == [], name
            await fits(page, width)
            await page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

        page = await ann.tab()
        for path, name in (
            ("/login", "login"),
            ("/register", "register"),
            ("/nowhere", "404"),
        ):
            await page.goto(site.url + path)
            await check(page, name)
        page = await sign_in(ann)
        await phone.sign_in("Ann", PASSWORD)
        socket = await phone.socket("polling")
        await rows(page, 2)
        await live(page)
        await check(page, "account")
        await page.goto(site.url + "/account/sign-in")
        await check(page, "sign-in")
        await page.goto(site.url + "/account/data")
        await check(page, "data")
        await page.goto(site.url + "/account/delete")
        await page.get_by_label("Password, to confirm").fill("wrong wrong")
        await press(page, "Delete account")
        assert await page.get_by_role("alert").inner_text() == "Wrong password."
        await check(page, "refused")
        await phone.post("/account/sessions/revoke-others")
        await is_gone(page, GONE)
        await check(page, "gone")
        await socket.close()
        await until(lambda: len(list(tmp_path.glob("*.png"))) == 8)


@pytest.mark.asvs("6.2.6", "6.2.7")
async def test_password_fields_are_masked_and_may_be_pasted_into(
    tmp_path: Path, chromium: Any
) -> None:
    """Each is of type password, takes what is pasted, and tells password managers what it is."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        await known(site)
        page = await sign_in(ann)
        kinds = {}
        for path in ("/account/sign-in", "/login", "/register"):
            await page.goto(site.url + path)
            for field in await page.locator("input[autocomplete*=password]").all():
                assert await field.get_attribute("type") == "password"
                await field.focus()
                await page.evaluate(
                    "() => document.activeElement.dispatchEvent(new ClipboardEvent('paste', "
                    "{cancelable: true, bubbles: true})) || document.body.remove()"
                )
                await page.keyboard.insert_text("pasted at once")
                assert await field.input_value() == "pasted at once"
                kinds[path, await field.get_attribute("name")] = await field.get_attribute(
                    "autocomplete"
                )
        assert kinds == {
            ("/account/sign-in", "password"): "current-password",
            ("/account/sign-in", "new_password"): "new-password",
            ("/login", "password"): "current-password",
            ("/register", "password"): "new-password",
        }


@pytest.mark.asvs("7.4.4")
async def test_every_page_has_a_way_out(tmp_path: Path, chromium: Any) -> None:
    """Who is signed in finds "Sign out" and the way to the account at the top of each page."""
    async with serve(tmp_path) as site, person(chromium, site, expected=["404"]) as ann:
        await known(site)
        page = await sign_in(ann)
        for path in ("/", "/account", "/login", "/register", "/nowhere"):
            await page.goto(site.url + path)
            bar = page.get_by_role("navigation", name="Account")
            assert await bar.get_by_role("button", name="Sign out").is_visible()
            assert await bar.get_by_role("link", name="Ann").get_attribute("href") == "/account"


async def test_a_page_that_was_cut_off_learns_that_its_session_ended(
    tmp_path: Path, chromium: Any
) -> None:
    """When it comes back as a visitor it is refused, and shows nothing more of the person."""
    async with serve(tmp_path) as site, person(chromium, site, expected=[CUT]) as ann:
        await known(site)
        page = await sign_in(ann)
        await live(page)
        (record,) = await site.services.sessions.store.of_user(await account_id(site, "Ann"))
        await site.services.sessions.store.destroy(record.id)
        await site.services.connections.close_all()
        await is_gone(page, "Your session has ended.")


async def test_without_the_socketio_client_the_forms_work(tmp_path: Path, chromium: Any) -> None:
    """No file and no CDN: the page says that it is not live, and signs devices out all the same."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=["ERR_FAILED"]) as ann,
        Visitor(site.url, **{"User-Agent": IPHONE}) as phone,
    ):
        await known(site)
        await phone.sign_in("Ann", PASSWORD)
        await ann.context.route("**/socket.io.min.js*", lambda route: route.abort())
        page = await sign_in(ann)
        await expect(page.locator("#state")).to_contain_text("Not live")
        await expect((await rows(page, 2)).last.locator("[data-seen]")).to_have_text("just now")
        await press(page, "Sign out Mobile Safari 17 on iOS")
        await says(page, "That device is signed out.")
        await rows(page, 1)
