"""A proof once more, in a real browser."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pytest

from app.testing import MovableClock
from app.web.recent_sign_in import recent_sign_in
from tests.support.chromium import (
    OVER_WEBSOCKET,
    accessibility_faults,
    fits,
    person,
    press,
    register,
    shows,
)
from tests.support.demo.session import BaseHandler
from tests.support.fork import fork
from tests.support.forms import PASSWORD
from tests.support.site import Site, serve
from tests.support.step_up import LATE

pytestmark = [pytest.mark.limit(60), pytest.mark.asyncio(loop_scope="session")]

FORM = """<!doctype html><html lang="en"><title>Transfer</title>
<form method="post"><label>To <input name="to"></label><button>Send</button></form>"""


class FormHandler(BaseHandler):
    """A form that needs a recent proof when it is sent."""

    def get(self) -> None:
        self.write(FORM)

    @recent_sign_in(minutes=10)
    async def post(self) -> None:
        (to,) = self.fields("to")
        self.write(escape(f"sent to {to}"))


class SecretHandler(BaseHandler):
    """A page that needs a recent proof."""

    @recent_sign_in(minutes=10)
    async def get(self) -> None:
        self.write("the secret")


EXPECTED = ("403 (Forbidden)", "404 (Not Found)")  # a wrong password; pages without an icon
ROUTES = [(r"/form", FormHandler), (r"/secret", SecretHandler)]


@pytest.mark.asvs("7.5.3")
@pytest.mark.parametrize("scripts", [True, False])
async def test_a_page_and_a_form_lead_to_the_password_and_back(
    tmp_path: Path, chromium: Any, monkeypatch: pytest.MonkeyPatch, scripts: bool
) -> None:
    """Also without scripts; the tab beside it keeps its socket."""
    own, clock = fork(monkeypatch, routes=ROUTES)[-1], MovableClock()
    modules = (own, "handlers.counter", "handlers.sign_in", "handlers.reauthenticate")
    async with (
        serve(tmp_path, modules=modules, clock=clock) as site,
        person(chromium, site, expected=EXPECTED, java_script_enabled=scripts) as ann,
    ):
        page = await ann.tab()
        await register(page, "ann")
        beside = await ann.tab()
        if scripts:
            await shows(beside, state=OVER_WEBSOCKET)
        peers = set(site.services.socket_server.peers)
        clock.now += LATE
        await page.goto(f"{site.url}/secret")
        if scripts:
            assert await accessibility_faults(page) == []
        for width in (360, 1280):
            await page.set_viewport_size({"width": width, "height": 800})
            await fits(page, width)
        await page.get_by_label("Password").fill("wrong wrong wrong")
        await press(page, "Confirm")
        assert "Wrong password." in await page.get_by_role("alert").inner_text()
        await confirm(page)
        assert await page.inner_text("body") == "the secret"
        clock.now += LATE
        await page.goto(f"{site.url}/form")
        await page.get_by_label("To").fill("Bob & <Sons>")
        await press(page, "Send")
        await confirm(page)
        if not scripts:
            await press(page, "Send the form")
        await page.wait_for_url("**/form")
        assert "Bob & <Sons>" in await page.inner_text("body")
        if scripts:
            await still_connected(beside, site, peers)


async def confirm(page: Any) -> None:
    """Prove it."""
    await page.get_by_label("Password").fill(PASSWORD)
    await press(page, "Confirm")


async def still_connected(beside: Any, site: Site, before: set[str]) -> None:
    """Fail unless the other tab has the socket that it had, and the socket works."""
    assert before & set(site.services.socket_server.peers)
    await press(beside, "Add one from the socket")
    await shows(beside, count=1, state=OVER_WEBSOCKET)
