"""The stock pages below a path, in a real browser behind a real nginx."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.handlers.site import serve_handlers
from tests.support.browser_devices import rows
from tests.support.chromium import CUT, OVER_WEBSOCKET, person, press, register, shows
from tests.support.plain_nginx import plain_nginx
from tests.support.site import Site

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]


async def test_the_pages_work_below_a_path_behind_nginx(tmp_path: Path, chromium: Any) -> None:
    """With deploy/nginx-base-path.conf: register, count by page and socket, see devices, leave."""
    from playwright.async_api import expect

    async with serve_handlers(
        tmp_path, base_path="/app", trusted_proxies=(ip_network("127.0.0.1"),)
    ) as site:
        upstream = site.url.removesuffix("/app")
        with plain_nginx("nginx-base-path.conf", upstream) as outside:
            async with person(chromium, Site(site.app, outside), expected=(CUT,)) as ann:
                page = await ann.tab("/app")
                assert page.url == f"{outside}/app/"
                await register(page, "Ann")
                await shows(page, count=0, state=OVER_WEBSOCKET)
                await press(page, "Add one from the page")
                await shows(page, count=1)
                await press(page, "Add one from the socket")
                await shows(page, count=2)
                await page.get_by_role("link", name="Ann").click()
                await rows(page, 1)
                await expect(page.locator("#state")).to_have_text("Live: changes show at once")
                assert urlsplit(page.url).path == "/app/account"
                await press(page, "Sign out")
                await shows(page, count=0, user="visitor")
                assert {cookie["path"] for cookie in await ann.context.cookies()} <= {
                    "/app",
                    "/app/login",
                }
