"""Pages of a trusted origin on another site, in a real browser: cookies, sockets and frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.cross_site import two_sites
from tests.support.forms import PASSWORD
from tests.support.watched_store import WatchedStore

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgraded": None}


def register(page: Any) -> Any:
    """Register Ann from the other site's page, with credentials."""
    account = {"username": "Ann", "password": PASSWORD}
    return page.evaluate("account => post('/register', 'include', account)", account)


async def has_cookie(ann: Any) -> bool:
    return any(cookie["name"] == "__Host-latchkey" for cookie in await ann.context.cookies())


@pytest.mark.parametrize("mode", TRANSPORTS)
async def test_with_credentials_pages_and_sockets_share_one_session(
    tmp_path: Path, chromium: Any, mode: str
) -> None:
    """Register, count by page and socket, read errors, sign out: all from another site's page."""
    expected = ("404", "401", "400")  # the last one answers a poll of the ended connection
    async with two_sites(tmp_path, chromium, expected=expected) as (_, ann):
        page = await ann.tab()
        run = page.evaluate
        assert await register(page) == [204, ""]
        assert await run("() => post('/incr', 'include')") == [200, "1"]
        await run("t => connect(t, true)", TRANSPORTS[mode])
        if mode == "upgraded":
            assert await run("() => upgraded") == "websocket"
        assert await run("() => ask('whoami')") == "Ann"
        assert await run("() => ask('incr')") == 2
        assert await run("() => post('/incr', 'include')") == [200, "3"]
        assert await run("() => ask('count')") == 3
        status, text = await run("() => call('/nowhere', {credentials: 'include'})")
        assert (status, "error" in text) == (404, True)
        assert await run("() => post('/logout', 'include')") == [204, ""]
        assert (await run("() => ended"))["reason"] == "logout"
        assert (await run("() => call('/account', {credentials: 'include'})"))[0] == 401
        assert not await has_cookie(ann)


async def test_without_credentials_every_page_request_is_a_visitors(
    tmp_path: Path, chromium: Any
) -> None:
    """Each gets a session of its own, and the browser keeps none of their cookies."""
    store = WatchedStore()
    async with two_sites(tmp_path, chromium, store=store) as (_, ann):
        page = await ann.tab()
        for _ in range(2):
            assert await page.evaluate("() => post('/incr', 'omit')") == [200, "1"]
        assert len(store.made) == 2
        assert not await has_cookie(ann)


async def test_without_credentials_polling_has_one_session_for_each_connection(
    tmp_path: Path, chromium: Any
) -> None:
    """The socket works, as a visitor's, beside the session that the browser has."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        await register(page)
        await page.evaluate("() => connect(['polling'], false)")
        assert await page.evaluate("() => ask('whoami')") is None
        assert await page.evaluate("() => ask('incr')") == 1
        assert await page.evaluate("() => ask('incr')") == 2
        assert await page.evaluate("() => post('/incr', 'include')") == [200, "1"]


async def test_without_credentials_a_websocket_has_the_browsers_session(
    tmp_path: Path, chromium: Any
) -> None:
    """Browsers send cookies with every WebSocket handshake, whatever `withCredentials` says."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        await register(page)
        await page.evaluate("() => connect(['websocket'], false)")
        assert await page.evaluate("() => ask('whoami')") == "Ann"


async def test_without_credentials_a_connection_upgrades_and_stays_a_visitors(
    tmp_path: Path, chromium: Any
) -> None:
    """The WebSocket has the browser's cookie; the session is that of the polling handshake."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        await register(page)
        await page.evaluate("() => connect(null, false)")
        assert await page.evaluate("() => upgraded") == "websocket"
        assert await page.evaluate("() => ask('whoami')") is None


@pytest.mark.parametrize("mode", ["polling", "websocket"])
async def test_a_page_of_an_untrusted_origin_gets_nothing(
    tmp_path: Path, chromium: Any, mode: str
) -> None:
    """Neither its requests nor its sockets come through."""
    expected = ("CORS", "Failed to load", "WebSocket connection to", "403")
    store = WatchedStore()
    options: dict[str, Any] = {"trusted_origins": ("https://app.example.org",), "store": store}
    async with two_sites(tmp_path, chromium, expected=expected, **options) as (_, ann):
        page = await ann.tab()
        failed = "it => it().then(() => 'done', error => error.message)"
        assert await page.evaluate(f"({failed})(() => post('/incr', 'include'))") != "done"
        connect = f"t => ({failed})(() => connect(t, true))"
        assert await page.evaluate(connect, TRANSPORTS[mode]) != "done"
        assert not store.made


async def test_no_page_may_frame_the_site_by_default(tmp_path: Path, chromium: Any) -> None:
    """The default."""
    expected = ("frame-ancestors", "Refused to frame", "Framing")
    async with two_sites(tmp_path, chromium, expected=expected) as (place, ann):
        place.frame = "/"
        page = await ann.tab()
        assert await page.frames[1].locator("#count").count() == 0
