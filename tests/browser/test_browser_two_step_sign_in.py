"""Two-step sign-in in a real browser: turned on, asked for, and accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_devices import known, sign_in
from tests.support.chromium import CUT, accessibility_faults, fits, person, press, says, shows
from tests.support.clock import Clock
from tests.support.devices import FIREFOX
from tests.support.forms import PASSWORD
from tests.support.second_factors import code
from tests.support.site import serve

pytestmark = [pytest.mark.limit(90), pytest.mark.asyncio(loop_scope="session")]


@pytest.mark.asvs("6.3.3")
@pytest.mark.parametrize(
    ("scheme", "width", "scripts"),
    [("light", 360, True), ("dark", 1280, True), ("light", 1280, False)],
)
async def test_a_user_turns_it_on_and_signs_in_with_it(
    tmp_path: Path, chromium: Any, scheme: Any, width: int, scripts: bool
) -> None:
    """Each page on the way is accessible and fits, and all works without scripts."""
    clock = Clock()
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with (
        serve(tmp_path, clock=clock) as site,
        person(
            chromium,
            site,
            expected=[CUT, "403", "401"],
            user_agent=FIREFOX,
            java_script_enabled=scripts,
            **options,
        ) as ann,
    ):
        await known(site)

        async def check(name: str) -> None:
            if scripts:
                assert await accessibility_faults(page) == [], name
                await fits(page, width)
            await page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

        page = await sign_in(ann, "/account/sign-in")
        await check("off")
        await press(page, "Turn on two-step sign-in")
        picture = page.get_by_role("img", name="QR code")
        size = await picture.evaluate("it => it.decode().then(() => it.naturalWidth)")
        assert size > 100
        secret = (await page.locator("#secret").inner_text()).replace(" ", "")
        await page.get_by_label("Code").fill("123")
        await press(page, "Turn on")
        await page.get_by_role("alert").wait_for()
        await check("wrong")
        await page.get_by_label("Code").fill(code(secret, clock))
        await press(page, "Turn on")
        await says(page, "Two-step sign-in is on")
        assert len((await page.get_by_label("Your codes").input_value()).split()) == 10
        await check("codes")
        await press(page, "Sign out")
        await shows(page, user="visitor")
        clock.now += 60
        await page.goto(site.url + "/login?next=/account/sign-in")
        await page.get_by_label("Name").fill("Ann")
        await page.get_by_label("Password").fill(PASSWORD)
        await press(page, "Sign in")
        await page.wait_for_url(site.url + "/login/code")
        assert await page.get_by_label("Code").evaluate("it => it === document.activeElement")
        await check("code")
        await page.get_by_label("Code").fill(code(secret, clock))
        await page.get_by_label("Do not ask on this device").check()
        await page.keyboard.press("Enter")
        await page.wait_for_url(site.url + "/account/sign-in")
        await check("on")
        await press(page, "Forget Firefox 132 on Linux")
        await says(page, "From now on you are asked for a code there.")
        await press(page, "Turn off two-step sign-in")
        await says(page, "Two-step sign-in is off")
