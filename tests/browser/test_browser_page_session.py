"""A page whose session ends: its user signs in again in place, and loses nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_devices import GONE, known, sign_in
from tests.support.chromium import CUT, Person, accessibility_faults, fits, person, press
from tests.support.clock import Clock
from tests.support.devices import FIREFOX
from tests.support.forms import PASSWORD
from tests.support.page_session import note_site
from tests.support.second_factors import code, enrol, wrong
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

pytestmark = [pytest.mark.limit(90), pytest.mark.asyncio(loop_scope="session")]

TYPED = "a long letter"
OFFLINE = "net::ERR_INTERNET_DISCONNECTED"


class Scene:
    """A site with a form, and Ann who fills it in."""

    def __init__(self, site: Site, clock: Clock, ann: Person) -> None:
        self.site, self.clock, self.ann = site, clock, ann

    async def typed(self) -> Any:
        """Return a tab in which Ann has typed into the form."""
        page = await sign_in(self.ann, "/note")
        await page.get_by_label("Your note").fill(TYPED)
        return page

    async def revoke(self) -> None:
        """Sign Ann out everywhere, from another browser of hers."""
        account = await self.site.services.accounts.by_name("Ann")
        await self.site.services.sessions.end_user(account.id)


@contextlib.asynccontextmanager
async def scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any, **options: Any
) -> AsyncIterator[Scene]:
    clock = Clock()
    expected = [CUT, "401", "403", "404", OFFLINE, "WebSocket connection"]
    async with (
        serve(tmp_path, clock=clock, modules=note_site(monkeypatch), expiry_interval=0.05) as site,
        person(chromium, site, expected=expected, user_agent=FIREFOX, **options) as ann,
    ):
        await known(site)
        yield Scene(site, clock, ann)


async def asks(page: Any, title: str = "Sign in again") -> Any:
    """Wait until the page asks, and return its dialog."""
    from playwright.async_api import expect

    dialog = page.get_by_role("dialog", name=title)
    await expect(dialog).to_be_visible(timeout=10_000)
    return dialog


async def enter(page: Any, password: str = PASSWORD) -> None:
    """Type the password into the dialog, which has the focus, and press Enter."""
    password_field = page.get_by_role("dialog").get_by_label("Password")
    assert await password_field.evaluate("it => it === document.activeElement")
    await password_field.fill(password)
    await page.keyboard.press("Enter")


async def closed(page: Any) -> None:
    from playwright.async_api import expect

    await expect(page.get_by_role("dialog")).to_be_hidden(timeout=10_000)


async def saved(page: Any) -> dict[str, str]:
    """Wait for the answer to the form, and return what the server got."""
    await page.wait_for_function("() => document.body.innerText.startsWith('{')")
    found: dict[str, str] = json.loads(await page.locator("body").inner_text())
    return found


async def test_a_user_signs_in_in_place_and_sends_what_they_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """The page asks when the form is sent, and sends it after that, with the button's value."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        await here.revoke()
        await press(page, "Save")
        dialog = await asks(page)
        assert await dialog.get_by_label("Name").input_value() == "Ann"
        await enter(page, "wrong wrong")
        await dialog.get_by_role("alert").get_by_text("Wrong name or wrong password.").wait_for()
        await enter(page)
        assert await saved(page) == {"note": TYPED, "how": "pressed", "user": "Ann"}


@pytest.mark.parametrize("how", ["a socket", "the time"])
async def test_the_page_asks_as_soon_as_the_session_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any, how: str
) -> None:
    """It hears it by its socket, and without one it knows the time; the socket comes back."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        if how == "a socket":
            await page.evaluate(
                """() => { window.vault = io("/vault"); session.watch(vault);
                return new Promise((resolve) => vault.on("connect", resolve)); }"""
            )
            await here.revoke()
            await (await asks(page)).get_by_text(GONE).wait_for()
        else:
            await page.clock.install()
            await page.reload()
            await page.get_by_label("Your note").fill(TYPED)
            here.clock.now += 86_401
            await page.clock.fast_forward(86_402_000)
            await asks(page)
        await enter(page)
        await closed(page)
        field = page.get_by_label("Your note")
        assert await field.input_value() == TYPED
        assert await field.evaluate("it => it === document.activeElement")
        if how == "a socket":
            await page.wait_for_function("() => vault.connected")
            assert await page.evaluate("session.emit(vault, 'open', 'it')") == "opened it"


async def test_the_second_factor_is_asked_for_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """After the password; a wrong code is said so."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        secret = await enrol(here.site, "Ann")
        await here.revoke()
        await press(page, "Save")
        dialog = await asks(page)
        await enter(page)
        field = dialog.get_by_label("Code")
        await field.wait_for()
        await field.fill(wrong(secret, here.clock))
        await page.keyboard.press("Enter")
        await dialog.get_by_role("alert").get_by_text("Wrong code").wait_for()
        await field.fill(code(secret, here.clock))
        await page.keyboard.press("Enter")
        assert (await saved(page))["note"] == TYPED


async def test_a_form_is_not_sent_as_another_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """The page says who has signed in meanwhile, and offers to load itself again as theirs."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        await here.site.services.accounts.register("Bob", PASSWORD)
        other = await here.ann.tab("/login?next=/note")
        await other.get_by_label("Name").fill("Bob")
        await other.get_by_label("Password").fill(PASSWORD)
        await press(other, "Sign in")
        await other.wait_for_url("**/note")
        await press(page, "Save")
        dialog = await asks(page)
        await dialog.get_by_text("signed in as Bob").wait_for()
        await press(page, "Reload this page")
        await page.wait_for_function("() => document.documentElement.dataset.user === 'Bob'")


async def test_other_tabs_notice_that_the_user_has_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """Their dialogs close by themselves."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        one = await here.typed()
        two = await here.ann.tab("/note")
        await two.get_by_label("Your note").fill("another letter")
        await here.revoke()
        for page in (one, two):
            await page.evaluate("void session.check()")
            await asks(page)
        await enter(one)
        await closed(one)
        await closed(two)
        assert await two.get_by_label("Your note").input_value() == "another letter"
        await press(two, "Save")
        assert (await saved(two))["user"] == "Ann"


async def test_a_form_waits_for_a_network_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """The browser would put its own error page in place of the form."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        await here.ann.context.set_offline(True)
        await press(page, "Save")
        dialog = await asks(page, "The site does not answer")
        await press(page, "Not now")
        await closed(page)
        await press(page, "Save")
        await asks(page, "The site does not answer")
        await here.ann.context.set_offline(False)
        await dialog.get_by_role("button", name="Try again").click()
        assert (await saved(page))["note"] == TYPED


async def test_a_user_may_sign_in_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """Escape closes the dialog; it comes back when it is needed."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        await here.revoke()
        await press(page, "Save")
        await asks(page)
        await page.keyboard.press("Escape")
        await closed(page)
        assert await page.get_by_label("Your note").input_value() == TYPED
        await press(page, "Save")
        await asks(page)
        await enter(page)
        assert (await saved(page))["note"] == TYPED


@pytest.mark.asvs("7.5.3")
async def test_an_event_and_a_request_that_need_a_proof_are_sent_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """After the password, on the same socket, which was never disconnected."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        await page.evaluate(
            """() => { window.vault = io("/vault"); session.watch(vault); window.lost = 0;
            vault.on("disconnect", () => { lost += 1; });
            return new Promise((resolve) => vault.on("connect", resolve)); }"""
        )
        for call, result in (
            ("session.emit(vault, 'open', 'it')", "opened it"),
            ("session.fetch('/secret', {method: 'POST'}).then(a => a.json())", {"secret": 42}),
        ):
            here.clock.now += 11 * 60
            await page.evaluate(f"() => {{ window.done = {call}; }}")
            dialog = await asks(page, "Is it you?")
            await enter(page, "wrong wrong")
            await dialog.get_by_role("alert").get_by_text("Wrong password.").wait_for()
            await enter(page)
            await closed(page)
            assert await page.evaluate("done") == result
        assert await page.evaluate("[lost, vault.connected]") == [0, True]
        assert await page.get_by_label("Your note").input_value() == TYPED


async def test_what_the_user_declines_is_refused_as_without_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """The page gets the answer of the server."""
    async with scene(tmp_path, monkeypatch, chromium) as here:
        page = await here.typed()
        here.clock.now += 11 * 60
        call = "session.fetch('/secret', {method: 'POST'}).then(a => a.status)"
        await page.evaluate(f"() => {{ window.done = {call}; }}")
        await asks(page, "Is it you?")
        await press(page, "Not now")
        assert await page.evaluate("done") == 403


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_dialog_is_accessible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any, scheme: Any, width: int
) -> None:
    """axe-core finds nothing, all fits, and nobody reads the page behind it."""
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    async with scene(tmp_path, monkeypatch, chromium, **options) as here:
        page = await here.typed()
        secret = await enrol(here.site, "Ann")
        await here.revoke()
        await page.evaluate("void session.check()")
        dialog = await asks(page)
        await enter(page, "wrong wrong")
        await dialog.get_by_role("alert").wait_for()
        assert await accessibility_faults(page) == []
        await fits(page, width)
        await page.screenshot(path=tmp_path / "password.png")
        await enter(page)
        await dialog.get_by_label("Code").wait_for()
        assert await accessibility_faults(page) == []
        await page.screenshot(path=tmp_path / "code.png")
        await dialog.get_by_label("Code").fill(code(secret, here.clock))
        await page.keyboard.press("Enter")
        await closed(page)


async def test_a_page_of_a_visitor_asks_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chromium: Any
) -> None:
    """It has nothing that belongs to a user."""
    async with scene(tmp_path, monkeypatch, chromium) as here, Visitor(here.site.url) as eve:
        page = (await eve.page("/")).text
        assert 'data-user-id=""' in page
