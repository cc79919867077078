"""The whole way of a lost password, in a browser without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import accessibility_faults, fits, person, press
from tests.support.devices import NEW
from tests.support.forms import PASSWORD
from tests.support.mail_server import link, mail_options, mail_server
from tests.support.site import serve

pytestmark = [pytest.mark.limit(90), pytest.mark.asyncio(loop_scope="session")]


async def heading(page: Any, text: str) -> None:
    """Wait until the page has this title."""
    from playwright.async_api import expect

    await expect(page.get_by_role("heading", level=1)).to_have_text(text)


async def sign_in(page: Any, url: str, password: str) -> None:
    """Sign in as Ann."""
    await page.goto(url + "/login")
    await page.get_by_label("Name").fill("ann")
    await page.get_by_label("Password").fill(password)
    await press(page, "Sign in")


@pytest.mark.asvs("6.4.3")
async def test_a_lost_password_is_replaced_without_scripts(tmp_path: Path, chromium: Any) -> None:
    """An address is confirmed, a link comes by mail, and a code from paper works too."""
    from playwright.async_api import expect

    async with (
        mail_server() as mails,
        serve(tmp_path, **mail_options(mails)) as site,
        person(chromium, site, java_script_enabled=False) as ann,
    ):
        await site.services.accounts.register("ann", PASSWORD)
        page = await ann.tab("/login")
        await sign_in(page, site.url, PASSWORD)
        await page.goto(site.url + "/account/recovery")
        await press(page, "Make ten codes")
        codes = (await page.get_by_label("Your codes; each works once").input_value()).split()
        async with page.expect_download() as saving:
            await page.get_by_role("link", name="Save as a text file").click()
        saved = await (await saving.value).path()
        assert Path(saved).read_text().split() == codes
        await page.get_by_label("Address").fill("ann@example.com")
        await press(page, "Send a link to confirm it")
        await page.goto(site.url + link(await mails.mail()))
        await press(page, "Confirm")
        await heading(page, "Your address is confirmed")
        await press(page, "Sign out")

        await page.goto(site.url + "/login")
        await page.get_by_role("link", name="Lost your password?").click()
        await page.get_by_label("Name or mail address").fill("ann")
        await press(page, "Send the link")
        await heading(page, "Look into your mailbox")
        await page.goto(site.url + link(await mails.mail(2)))
        assert page.url == site.url + "/reset"
        await page.get_by_label("New password").fill(NEW)
        await press(page, "Set the password")
        await heading(page, "Your password is changed")

        # a new password voids the codes
        await sign_in(page, site.url, NEW)
        await page.goto(site.url + "/account/recovery")
        await press(page, "Make ten codes")
        codes = (await page.get_by_label("Your codes; each works once").input_value()).split()
        await press(page, "Sign out")
        await page.goto(site.url + "/recover")
        await page.get_by_label("Name", exact=True).fill("ann")
        await page.get_by_label("Recovery code").fill(codes[0].upper())
        await page.get_by_label("New password").fill("a third password")
        await press(page, "Set the password")
        await heading(page, "Your password is changed")
        await sign_in(page, site.url, "a third password")
        await page.goto(site.url + "/account/recovery")
        await expect(page.get_by_role("button", name="Make ten codes")).to_be_visible()


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_pages_fit_and_are_accessible(
    tmp_path: Path, chromium: Any, width: int, scheme: Any
) -> None:
    async with (
        mail_server() as mails,
        serve(tmp_path, **mail_options(mails)) as site,
        person(
            chromium,
            site,
            expected=["410"],
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
        ) as ann,
    ):
        await site.services.accounts.register("ann", PASSWORD)
        account = await site.services.accounts.by_name("ann")
        links = site.services.one_time_links
        page = await ann.tab("/login")
        await sign_in(page, site.url, PASSWORD)
        await page.wait_for_url(site.url + "/")
        await page.goto(site.url + "/account/recovery")
        await press(page, "Make ten codes")
        await page.get_by_label("Your codes; each works once").wait_for()
        await fits(page, width)
        assert await accessibility_faults(page) == []
        reset = await links.create(account.id, "reset", 60)
        confirm = await links.create(account.id, "email", 60, "ann@example.com")
        for path in (
            "/account/recovery",
            "/recover",
            "/recover/sent",
            f"/reset?token={reset}",
            "/reset/done",
            f"/confirm-address?token={confirm}",
            "/reset?token=wrong",
        ):
            await page.goto(site.url + path)
            await fits(page, width)
            assert await accessibility_faults(page) == [], path
