"""Two-step sign-in on the account page: on, off, and the devices that are trusted."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.support.browsers import session_id
from tests.support.clock import Clock
from tests.support.forms import PASSWORD, ask, each_kind, send, who
from tests.support.second_factors import code, wrong
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

JSON = {"Accept": "application/json"}
TOTP = "/account/sign-in/totp"


class Scene:
    """A site, and Ann who has just registered there."""

    def __init__(self, site: Site, clock: Clock, ann: Visitor) -> None:
        self.site, self.clock, self.ann = site, clock, ann

    async def turn_on(self) -> str:
        """Turn two-step sign-in on as a script does; return the secret."""
        secret: str = (await send(self.ann, "json", TOTP)).json()["secret"]
        shown = code(secret, self.clock)
        answer = await send(self.ann, "json", TOTP + "/confirm", code=shown)
        assert answer.status == 307
        made = await send(self.ann, "json", answer.headers["Location"])
        self.codes: list[str] = made.json()["codes"]
        self.clock.now += 60
        return secret

    async def since(self) -> int | None:
        """Return since when it is on."""
        answer = await self.ann.get("/account/sign-in", headers=JSON)
        found: int | None = answer.json()["totp_since"]
        return found


@contextlib.asynccontextmanager
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("Ann")
        yield Scene(site, clock, ann)


@each_kind
async def test_a_user_turns_it_on_and_off(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By forms alone, and by JSON."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here:
        if kind == "form":
            assert (await send(here.ann, kind, TOTP)).headers["Location"] == TOTP
            page = (await ask(here.ann, TOTP)).text
            found = re.search(r'id="secret">([^<]+)<', page)
            assert found is not None
            secret = found[1].replace(" ", "")
            assert 'src="data:image/svg+xml' in page
        else:
            begun = (await send(here.ann, kind, TOTP)).json()
            secret = begun["secret"]
            assert pyotp.parse_uri(begun["uri"]).secret == secret
        refused = await send(here.ann, kind, TOTP + "/confirm", code=wrong(secret, here.clock))
        assert refused.status == 403
        assert "Wrong code" in refused.error
        assert await here.since() is None
        on = await send(here.ann, kind, TOTP + "/confirm", code=code(secret, here.clock))
        assert (on.status, on.headers["Location"]) == (307, "/account/recovery/codes?done=totp-on")
        made = await send(here.ann, kind, on.headers["Location"])
        assert (made.status, made.headers["Cache-Control"]) == (200, "no-store")
        assert len(set(re.findall(r"\b[a-z0-9]{6}-[a-z0-9]{6}\b", made.text))) >= 10
        assert await here.since() == int(here.clock.now)
        assert "Turn off two-step sign-in" in (await ask(here.ann, "/account/sign-in")).text
        await send(here.ann, kind, TOTP + "/off")
        assert await here.since() is None
    assert "two-step sign-in on user='Ann'" in caplog.text
    assert "two-step sign-in off user='Ann'" in caplog.text


@pytest.mark.asvs("7.5.1")
@each_kind
@pytest.mark.parametrize("path", [TOTP, TOTP + "/confirm", TOTP + "/off"])
async def test_a_change_needs_a_recent_proof_of_the_user(
    tmp_path: Path, kind: str, path: str
) -> None:
    """A session that was left open turns nothing on or off."""
    async with scene(tmp_path) as here:
        if path.endswith("off"):
            await here.turn_on()
        before = await here.since()
        here.clock.now += 601
        answer = await send(here.ann, kind, path, code="123456")
        if kind == "form":
            assert (answer.status, answer.headers["Location"].split("?")[0]) == (
                307,
                "/reauthenticate",
            )
        else:
            assert (answer.status, answer.json()) == (403, {"error": "reauthenticate"})
        assert await here.since() == before


async def test_the_secret_is_shown_after_a_recent_proof_only(tmp_path: Path) -> None:
    """And not once it is in force. No cache keeps it."""
    async with scene(tmp_path) as here:
        await send(here.ann, "json", TOTP)
        shown = await ask(here.ann, TOTP)
        assert (shown.status, shown.headers["Cache-Control"]) == (200, "no-store")
        here.clock.now += 601
        assert (await ask(here.ann, TOTP)).headers["Location"].startswith("/reauthenticate?")
        await send(here.ann, "json", "/reauthenticate", password=PASSWORD)
        assert 'id="secret"' in (await ask(here.ann, TOTP)).text
        secret = await here.turn_on()
        assert (await ask(here.ann, TOTP)).headers["Location"] == "/account/sign-in"
        assert (await here.ann.get(TOTP, headers=JSON)).status == 404
        assert secret not in (await ask(here.ann, "/account/sign-in")).text


async def test_it_cannot_be_begun_anew_while_it_is_on(tmp_path: Path) -> None:
    """A thief of a session would else put their own app in place of the user's."""
    async with scene(tmp_path) as here:
        secret = await here.turn_on()
        answer = await send(here.ann, "json", TOTP)
        assert (answer.status, answer.error) == (
            409,
            "Two-step sign-in is on already. Turn it off first.",
        )
        state = await here.site.services.totp.state(
            (await here.site.services.accounts.by_name("Ann")).id
        )
        assert state.secret == secret


@pytest.mark.asvs("6.5.6")
@each_kind
async def test_trusted_devices_are_listed_and_forgotten(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One or all of them; each is asked for a code again."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here, contextlib.AsyncExitStack() as stack:
        secret = await here.turn_on()
        devices = [await stack.enter_async_context(Visitor(here.site.url)) for _ in range(3)]

        async def sign_in(device: Visitor) -> int:
            fields = {"username": "Ann", "password": PASSWORD}
            return (await send(device, "json", "/login", **fields)).status

        for device in devices:
            await sign_in(device)
            shown = code(secret, here.clock)
            await send(device, "json", "/login/code", code=shown, trust="yes")
            assert await who(device) == "Ann"
            here.clock.now += 30
        forget = "/account/sign-in/trusted-devices/forget"
        listed = await here.ann.get("/account/sign-in", headers=JSON)
        ids = [device["id"] for device in listed.json()["trusted_devices"]]
        await send(here.ann, kind, forget, device=ids[0])
        assert [await sign_in(device) for device in devices] == [204, 204, 401]
        await send(here.ann, kind, forget, device="")
        assert [await sign_in(device) for device in devices] == [401, 401, 401]
    assert caplog.text.count("trusted devices forgotten") == 2


async def test_visitors_are_refused(tmp_path: Path) -> None:
    """A script gets 401."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as eve:
        for path in (TOTP, TOTP + "/confirm", TOTP + "/off"):
            assert (await send(eve, "json", path, code="123456")).status == 401


@pytest.mark.asvs("6.4.4", "6.5.1")
@each_kind
async def test_a_recovery_code_signs_in_once_in_place_of_a_code(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A user whose phone is lost then turns two-step sign-in off, by the password."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here, Visitor(here.site.url) as elsewhere:
        await here.turn_on()
        typed = here.codes[3].upper().replace("-", " ")
        for expected in (303 if kind == "form" else 204, 401):
            await send(elsewhere, kind, "/login", username="Ann", password=PASSWORD)
            answer = await send(elsewhere, kind, "/login/code", code=typed)
            assert answer.status == expected
        assert (await send(elsewhere, "json", TOTP + "/off")).status == 204
        assert await here.since() is None
    assert "method='password+recovery code'" in caplog.text


@pytest.mark.asvs("7.5.1", "7.5.3")
@each_kind
async def test_a_proof_takes_password_and_code_while_it_is_on(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody with a copied cookie and the password turns nothing off."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    async with scene(tmp_path) as here:
        secret = await here.turn_on()
        here.clock.now += 601
        for shown in ("", wrong(secret, here.clock)):
            fields = {"password": PASSWORD, "code": shown}
            answer = await send(here.ann, kind, "/reauthenticate", **fields)
            assert (answer.status, "code" in answer.error.lower()) == (403, True)
            assert kind == "form" or answer.json()["code_required"] is True
        wrong_password = await send(here.ann, kind, "/reauthenticate", password="wrong wrong")
        assert "Wrong password." in wrong_password.error
        assert (await send(here.ann, "json", TOTP + "/off")).status == 403
        fields = {"password": PASSWORD, "code": code(secret, here.clock)}
        assert (await send(here.ann, kind, "/reauthenticate", **fields)).status in (204, 303)
        here.clock.now += 601
        fields = {"password": PASSWORD, "code": here.codes[0]}
        assert (await send(here.ann, kind, "/reauthenticate", **fields)).status in (204, 303)
        assert (await send(here.ann, "json", TOTP + "/off")).status == 204
    for method in ("password+totp", "password+recovery code"):
        assert f"method='{method}'" in caplog.text


@pytest.mark.asvs("7.5.1")
async def test_a_sign_in_on_a_trusted_device_is_no_proof(tmp_path: Path) -> None:
    """Its cookie may have been copied with that of the session."""
    async with scene(tmp_path) as here, Visitor(here.site.url) as device:
        secret = await here.turn_on()
        fields = {"username": "Ann", "password": PASSWORD}
        await send(device, "json", "/login", **fields)
        await send(device, "json", "/login/code", code=code(secret, here.clock), trust="yes")
        await send(device, "json", "/logout")
        assert (await send(device, "json", "/login", **fields)).status == 204
        answer = await send(device, "json", TOTP + "/off")
        assert (answer.status, answer.error) == (403, "reauthenticate")
        assert await here.since() is not None


@pytest.mark.asvs("7.5.1")
async def test_the_password_alone_proves_too_little(tmp_path: Path) -> None:
    """It neither changes the password, nor deletes the account, nor leads to the end of it."""
    new = "another horse battery"
    async with scene(tmp_path) as here:
        secret = await here.turn_on()
        here.clock.now += 3600
        for path, fields in (
            ("/account/password", {"password": PASSWORD, "new_password": new}),
            ("/account/delete", {"password": PASSWORD}),
            (TOTP + "/off", {}),
        ):
            answer = await send(here.ann, "json", path, **fields)
            assert (answer.status, answer.json()) == (403, {"error": "reauthenticate"})
        assert await who(here.ann) == "Ann"
        proof = {"password": PASSWORD, "code": code(secret, here.clock)}
        assert (await send(here.ann, "json", "/reauthenticate", **proof)).status == 204
        change = {"password": PASSWORD, "new_password": new}
        assert (await send(here.ann, "json", "/account/password", **change)).status == 204


async def test_a_change_of_the_password_does_not_keep_a_proof_recent(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        await here.turn_on()
        old, new = PASSWORD, "another horse battery"
        for _ in range(2):
            here.clock.now += 240  # the first proof is the sign-up
            fields = {"password": old, "new_password": new}
            assert (await send(here.ann, "json", "/account/password", **fields)).status == 204
            old, new = new, old
        here.clock.now += 240
        answer = await send(here.ann, "json", TOTP + "/off")
        assert (answer.status, answer.json()) == (403, {"error": "reauthenticate"})


async def test_a_session_that_ended_during_the_change_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(tmp_path) as here:
        await here.turn_on()
        accounts, sessions = here.site.services.accounts, here.site.services.sessions
        change, id = accounts.change_password, session_id(here.ann.cookie)

        async def change_after_the_end(*args: Any, **options: Any) -> Any:
            await sessions.end(id)
            return await change(*args, **options)

        monkeypatch.setattr(accounts, "change_password", change_after_the_end)
        fields = {"password": PASSWORD, "new_password": "another horse battery"}
        answer = await send(here.ann, "json", "/account/password", **fields)
        assert answer.status == 403
        assert "signed out meanwhile" in answer.text
        assert await who(here.ann) is None
