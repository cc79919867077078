"""The single page app of docs/cross-origin.md, as it is written there, in a real browser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from app.testing import PASSWORD, Visitor
from tests.support import fork_document
from tests.support.chromium import person, press
from tests.support.fork import STOCK
from tests.support.site import Site, serve

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]

NAMES = ("index.html", "app.js")
KINDS = {"index.html": "text/html", "app.js": "text/javascript"}


def written(name: str, server: str, base: str) -> str:
    """Return a file of the page, for a server of this address."""
    pattern = rf"```\w+\n(?:<!--|//) {re.escape(name)}[^\n]*\n(.*?)```"
    found = re.search(pattern, fork_document.page("cross-origin"), re.DOTALL)
    assert found is not None
    text = found[1].replace('base = ""', f'base = "{base}"')
    where = server + (base if name == "index.html" else "")
    return text.replace("http://localhost:8888", where)


@contextlib.asynccontextmanager
async def app_of(files: dict[str, str]) -> AsyncIterator[str]:
    """Serve these files on http://localhost:PORT, which is the origin that this yields."""

    async def get(request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        if name not in files:
            return web.Response(status=204)  # the icon
        return web.Response(text=files[name], content_type=KINDS[name])

    application = web.Application()
    application.router.add_get("/{name:.*}", get)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Page:
    """The page in a tab."""

    def __init__(self, tab: Any) -> None:
        self._tab = tab

    async def shows(self, **texts: str) -> None:
        """Wait until the elements of these ids have these texts."""
        from playwright.async_api import expect

        for id, text in texts.items():
            await expect(self._tab.locator(f"#{id}")).to_have_text(text)

    async def sign_in(self, password: str = PASSWORD) -> None:
        await self._tab.locator("[name=username]").fill("ann")
        await self._tab.locator("[name=password]").fill(password)
        await press(self._tab, "Sign in")

    async def sign_out(self) -> None:
        await press(self._tab, "Sign out")


@contextlib.asynccontextmanager
async def opened(
    tmp_path: Path,
    chromium: Any,
    monkeypatch: pytest.MonkeyPatch,
    *,
    host: str = "localhost",
    base: str = "",
    **settings: Any,
) -> AsyncIterator[tuple[Site, Page]]:
    """Serve Latchkey under this host name, and the app; yield both when ann has an account."""
    fork_document.write(tmp_path, "cross-origin")
    fork_document.import_from(tmp_path, monkeypatch)
    modules = ("handlers.parcels", "handlers.signed_in", *STOCK)
    files: dict[str, str] = {}
    # the last: the client sends while the server closes the socket, at the end of a session
    expected = ("401 (Unauthorized)", "400 (Bad Request)")
    async with (
        app_of(files) as origin,
        serve(
            tmp_path, modules=modules, trusted_origins=(origin,), base_path=base, **settings
        ) as site,
        Visitor(site.url) as ann,
    ):
        await ann.register("ann")
        port = site.app.addresses[0].partition("://")[2].partition(":")[2].partition("/")[0]
        files |= {name: written(name, f"http://{host}:{port}", base) for name in NAMES}
        async with person(chromium, site, expected=expected) as someone:
            someone.url = origin
            yield site, Page(await someone.tab())


@pytest.mark.parametrize(("base", "on_session_end"), [("", "reconnect"), ("/app", "disconnect")])
async def test_the_app_signs_in_connects_and_follows_the_session(
    tmp_path: Path,
    chromium: Any,
    monkeypatch: pytest.MonkeyPatch,
    base: str,
    on_session_end: str,
) -> None:
    """Wrong password, sign-in, a second sign-in, revoked, sign-in again, sign-out."""
    async with opened(
        tmp_path, chromium, monkeypatch, base=base, on_session_end=on_session_end
    ) as (site, page):
        await page.shows(user="visitor", count="", notice="")
        await page.sign_in("wrong password")
        await page.shows(user="visitor", notice="Wrong name or wrong password.")
        await page.sign_in()
        await page.shows(user="ann", count="0", notice="")
        (session,) = await own_sessions(site)
        async with site.services.sessions.edit(session.id) as data:
            data.count = 7
        await page.sign_in()  # regenerates the session; the socket comes back by itself
        await page.shows(user="ann", count="7", notice="")
        (session,) = await own_sessions(site)
        await site.services.sessions.end(session.id, "revoked")
        await page.shows(user="visitor", notice="Your session has ended: revoked")
        await page.sign_in()
        await page.shows(user="ann", count="0", notice="")
        await page.sign_out()
        await page.shows(user="visitor", notice="Your session has ended: logout")


async def own_sessions(site: Site) -> list[Any]:
    """Return the sessions of ann but the one that registered."""
    account = await site.services.accounts.by_name("ann")
    sessions = await site.services.sessions.of_user(account.id)
    return [session for session in sessions if "Chrome" in session.user_agent]


async def test_another_host_name_is_another_site(
    tmp_path: Path, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of localhost signs in at 127.0.0.1, and the browser does not keep the cookie."""
    async with opened(tmp_path, chromium, monkeypatch, host="127.0.0.1") as (_, page):
        await page.sign_in()
        await page.shows(user="visitor", count="", notice="")
