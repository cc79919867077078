"""Two devices of one user, each a browser with cookies of its own, and their account page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tests.support.chromium import CUT, Person, person, press
from tests.support.devices import FIREFOX, IPHONE
from tests.support.forms import PASSWORD
from tests.support.site import Site

GONE = "You were signed out from another device"


@contextlib.asynccontextmanager
async def two_devices(
    chromium: Any, site: Site, *, expected: tuple[str, ...] = (), **options: Any
) -> AsyncIterator[tuple[Person, Person]]:
    """Open a laptop and a phone, each with its own cookies."""
    expected = (*expected, CUT)
    async with (
        person(chromium, site, expected=expected, user_agent=FIREFOX, **options) as laptop,
        person(chromium, site, expected=expected, user_agent=IPHONE, **options) as phone,
    ):
        yield laptop, phone


async def sign_in(someone: Person, path: str = "/account") -> Any:
    """Sign Ann in on this device, and return a tab with the page."""
    page = await someone.tab("/login?next=" + path)
    await page.get_by_label("Name").fill("Ann")
    await page.get_by_label("Password").fill(PASSWORD)
    await press(page, "Sign in")
    await page.wait_for_url(someone.url + path)
    return page


async def known(site: Site) -> None:
    await site.services.accounts.register("Ann", PASSWORD)


async def rows(page: Any, count: int) -> Any:
    """Wait until the list has so many rows, and return it."""
    from playwright.async_api import expect

    found = page.locator("#devices > li")
    await expect(found).to_have_count(count, timeout=10_000)
    return found
