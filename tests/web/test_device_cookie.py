"""The device cookie, which marks a browser that has signed in before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from app.web.device_cookie import DeviceCookie
from app.web.session_cookie import SessionCookie
from tests.support.forms import PASSWORD, known, send
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

KEYS = ("an old key of sixteen", "a new key of sixteen")


def device(*keys: str, **settings: Any) -> DeviceCookie:
    """Return the cookie's reader and writer with these keys."""
    cookie = SessionCookie(Settings(**settings), keys or KEYS)
    return DeviceCookie(cookie, "latchkey", keys or KEYS)


def sent(header: str) -> str:
    """Return what a browser sends back of a Set-Cookie header."""
    return header.partition(";")[0]


def test_a_device_cookie_is_valid_for_its_account_only() -> None:
    """Not for another account, and not for an invalid name."""
    ours = device()
    header = sent(ours.issue("ann", "stamp", secure=False))
    found = ours.recognise([header], "ann", "stamp", secure=False)
    assert found
    assert ours.recognise(["a=b; " + header], "ann", "stamp", secure=False) == found
    for stamp in ("another", ""):
        assert ours.recognise([header], "ann", stamp, secure=False) == ""
    for account in ("bob", "", "ann "):
        assert ours.recognise([header], account, "stamp", secure=False) == ""
    assert sent(ours.issue("ann", "stamp", secure=False)) != header


@pytest.mark.parametrize("space", ["\xa0", "\x85", "\xc2\xa0", "\x1f"])
def test_a_name_with_other_white_space_is_another_name(space: str) -> None:
    """Plain http and other hosts may set such a cookie: it does not begin with `__Secure-`."""
    ours = device()
    header = sent(ours.issue("ann", "stamp", secure=True))
    assert ours.recognise([header], "ann", "stamp", secure=True)
    assert ours.recognise([space + header], "ann", "stamp", secure=True) == ""


@pytest.mark.parametrize(
    "value", ["", "x", ".", "x.y", "x" * 5000, "é", "x.y.z", '"', "a" * 22 + "." + "b" * 43]
)
def test_a_forged_device_cookie_is_invalid(value: str) -> None:
    """No value raises an error."""
    assert device().recognise([f"latchkey-device={value}"], "ann", "stamp", secure=False) == ""


def test_keys_may_be_changed() -> None:
    """A cookie of an old key is valid as long as that key is accepted."""
    old = sent(device(KEYS[0]).issue("ann", "stamp", secure=False))
    assert device(*KEYS).recognise([old], "ann", "stamp", secure=False)
    assert device(KEYS[1]).recognise([old], "ann", "stamp", secure=False) == ""


@pytest.mark.asvs("3.3.1")
def test_the_attributes_of_the_device_cookie() -> None:
    """Path, HttpOnly and, by https, Secure."""
    plain, secure = (
        device().issue("ann", "stamp", secure=False),
        device().issue("ann", "stamp", secure=True),
    )
    assert plain.split("; ")[1:] == ["Max-Age=31536000", "Path=/login", "HttpOnly", "SameSite=Lax"]
    assert secure.startswith("__Secure-latchkey-device=")
    assert secure.endswith("; Secure")
    assert "ann" not in plain
    assert device().recognise([sent(plain)], "ann", "stamp", secure=True) == ""


@pytest.mark.asvs("6.3.1")
@pytest.mark.attack("A12")
async def test_attackers_cannot_lock_an_owner_out(tmp_path: Path) -> None:
    """After many failures from elsewhere the owner's browser signs in, and a new browser waits."""
    async with (
        serve(tmp_path, failed_logins_per_minute=3) as site,
        Visitor(site.url) as owner,
        Visitor(site.url) as stranger,
    ):
        await owner.sign_up("ann")
        await owner.post("/logout")
        for _ in range(3):
            answer = await send(stranger, "json", "/login", username="ann", password="wrong wrong")
            assert answer.status == 401
        answer = await send(stranger, "json", "/login", username="ann", password=PASSWORD)
        assert answer.status == 429
        await owner.sign_in("ANN")


@pytest.mark.asvs("6.3.1")
async def test_a_known_device_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """A stolen device cookie allows few attempts, and for its account only."""
    async with (
        serve(tmp_path, failed_logins_per_minute=3) as site,
        Visitor(site.url) as ann,
    ):
        await known(site, "bob")
        await ann.sign_up("ann")
        statuses = [
            (await send(ann, "json", "/login", username="ann", password="wrong wrong")).status
            for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]
        # its failures were not the address's: others behind it may still try
        statuses = [
            (await send(ann, "json", "/login", username="bob", password="wrong wrong")).status
            for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]


@pytest.mark.parametrize("change", ["password", "delete"])
async def test_a_new_password_makes_device_cookies_invalid(tmp_path: Path, change: str) -> None:
    """An attacker may have collected such cookies while the old password was valid.

    The browser that has changed the password stays known.
    """
    async with (
        serve(tmp_path, failed_logins_per_minute=3) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as guesser,
    ):
        await guesser.sign_up("ann")
        gathered = []
        for _ in range(4):
            fields = {"username": "ann", "password": PASSWORD}
            answer = await send(guesser, "json", "/login", **fields)
            gathered.append(answer.headers.getall("Set-Cookie")[1].partition(";")[0])
        await ann.sign_in("ann")
        fields = {"password": PASSWORD, "new_password": "a quite new password"}
        assert (await send(ann, "json", f"/account/{change}", **fields)).status == 204
        if change == "delete":
            await ann.sign_up("ann", "a quite new password")
        guesser.jar.clear()
        statuses = []
        for cookie in gathered:
            status, _ = await guesser.post(
                "/login",
                json={"username": "ann", "password": "wrong wrong"},
                headers={"Cookie": cookie},
            )
            statuses.append(status)
            guesser.jar.clear()
        assert statuses == [401, 401, 401, 429]
        await ann.post("/logout")
        await ann.sign_in("ann", "a quite new password")


async def test_a_failed_sign_in_sets_no_device_cookie(site: Site, visitor: Visitor) -> None:
    """Only a successful sign-in sets it."""
    await known(site, "ann")
    for password, there in (("wrong wrong", False), (PASSWORD, True)):
        answer = await send(visitor, "json", "/login", username="ann", password=password)
        cookies = answer.headers.getall("Set-Cookie", [])
        assert any("-device=" in cookie for cookie in cookies) == there
        if there:
            assert cookies[0].startswith("latchkey=")
