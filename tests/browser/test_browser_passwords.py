"""Password fields in a real browser: the meter, and the button that shows what was typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_devices import known, sign_in
from tests.support.chromium import accessibility_faults, fits, person, press, shows
from tests.support.forms import PASSWORD
from tests.support.site import serve

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]

SCORED = """(score) => document.querySelector(".strength").dataset.score === score"""


async def judged(page: Any, score: str, sentence: str) -> None:
    """Wait until the meter says this."""
    from playwright.async_api import expect

    meter = page.locator(".strength")
    # sees it in the next frame; `expect` would look after 0.35 and 0.85 s
    await page.wait_for_function(SCORED, arg=score)
    await expect(meter).to_have_attribute("data-score", score)
    await expect(meter.get_by_role("status")).to_contain_text(sentence)


@pytest.mark.asvs("6.2.4")
async def test_the_meter_explains_while_the_user_types(tmp_path: Path, chromium: Any) -> None:
    """It follows the password and the name, and is empty where the field is."""
    from playwright.async_api import expect

    async with serve(tmp_path) as site, person(chromium, site) as ann:
        page = await ann.tab("/register")
        await expect(page.locator(".bars")).to_be_hidden()
        field = page.get_by_label("Password")
        await field.press_sequentially("lampshade2024")
        await judged(page, "3", "This is hard to guess. 15 characters or more are better.")
        await page.get_by_label("Name").fill("Lampshade")
        await judged(page, "1", "This is your user name with a year.")
        assert await accessibility_faults(page) == []
        await field.fill(PASSWORD)
        await judged(page, "4", "This is very hard to guess.")
        await field.fill("")
        await expect(page.locator(".bars")).to_be_hidden()
        await judged(page, "", "")
        await field.fill(PASSWORD)
        await press(page, "Register and sign in")
        await shows(page, user="Lampshade")


async def test_a_meter_that_gets_no_answer_says_nothing(tmp_path: Path, chromium: Any) -> None:
    """The form works all the same, and its answer explains."""
    from playwright.async_api import expect

    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=["ERR_FAILED", "422"]) as ann,
    ):
        await known(site)
        page = await sign_in(ann, "/account/sign-in")
        await page.route("**/password-strength", lambda route: route.abort())
        async with page.expect_event("requestfailed"):
            await page.get_by_label("New password").fill("password1")
        await expect(page.locator(".bars")).to_be_hidden()
        await page.get_by_label("Old password").fill(PASSWORD)
        await press(page, "Change password")
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text("This is one of the most used passwords. A few words")


async def test_without_scripts_the_form_explains(tmp_path: Path, chromium: Any) -> None:
    """There is neither a meter nor a button that does nothing."""
    async with (
        serve(tmp_path) as site,
        person(chromium, site, expected=["422"], java_script_enabled=False) as ann,
    ):
        page = await ann.tab("/register")
        assert await page.get_by_role("button", name="Show").count() == 0
        assert await page.locator(".bars").is_hidden()
        await page.get_by_label("Name").fill("annabel")
        await page.get_by_label("Password").fill("annabel2024")
        await press(page, "Register and sign in")
        assert (await page.get_by_role("alert").inner_text()).startswith(
            "This is your user name with a year."
        )
        assert await page.get_by_label("Name").input_value() == "annabel"


@pytest.mark.asvs("6.2.6")
async def test_a_password_is_shown_as_long_as_the_user_wants(tmp_path: Path, chromium: Any) -> None:
    """By mouse or keyboard; it is hidden again before the form leaves."""
    async with serve(tmp_path) as site, person(chromium, site) as ann:
        await known(site)
        page = await ann.tab("/login")
        field = page.get_by_label("Password")
        await page.get_by_label("Name").fill("Ann")
        await field.fill(PASSWORD)
        await page.keyboard.press("Tab")
        assert await page.evaluate("() => document.activeElement.textContent") == "Show Password"
        await page.keyboard.press("Enter")
        assert await field.get_attribute("type") == "text"
        await press(page, "Hide Password")
        assert await field.get_attribute("type") == "password"
        await press(page, "Show Password")
        await page.evaluate(
            "() => document.addEventListener('submit', () => { "
            "sessionStorage.kind = document.getElementById('password').type; })"
        )
        await press(page, "Sign in")
        await shows(page, user="Ann")
        assert await page.evaluate("() => sessionStorage.kind") == "password"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_forms_for_new_passwords_are_accessible(
    tmp_path: Path, chromium: Any, scheme: Any, width: int
) -> None:
    """With a refused password, a fair one and a good one."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with serve(tmp_path) as site, person(chromium, site, **options) as ann:
        await known(site)
        register = await ann.tab("/register")
        change = await sign_in(ann, "/account/sign-in")
        for page, label in ((register, "Password"), (change, "New password")):
            for password, score in (("password1", "0"), ("mxkqpwzv", "2"), (PASSWORD, "4")):
                await page.get_by_label(label).fill(password)
                await judged(page, score, "This is ")
                assert await accessibility_faults(page) == []
                await fits(page, width)
            await page.get_by_label(label).fill("password1")
            await judged(page, "0", "This is ")
            await page.screenshot(
                path=tmp_path / f"{label.split()[0].lower()}-{width}-{scheme}.png", full_page=True
            )
