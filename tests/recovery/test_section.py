"""The section "Recovery" of the account page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import account_id
from tests.support.clock import Clock
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, each_kind, send
from tests.support.site import Site, serve
from tests.support.visitor import Visitor


async def codes_left(site: Site, name: str = "ann") -> int:
    """Return how many codes an account has."""
    return int(await site.services.recovery_codes.left(await account_id(site, name)))


async def test_codes_are_shown_once(site: Site, ann: Visitor) -> None:
    """In the answer that makes them, to read, to print and to save."""
    await ann.sign_up("ann")
    assert "You have <strong" in (await ann.page("/account/recovery")).text
    made = await ann.submit("/account/recovery/codes", {})
    shown = re.search(r"<textarea[^>]*>([^<]*)</textarea>", made.text)
    assert shown is not None
    codes = shown[1].split()
    assert (made.status, len(codes), made.headers["Cache-Control"]) == (200, 10, "no-store")
    assert f'href="data:text/plain;charset=utf-8,{"%0A".join(codes)}%0A"' in made.text
    assert codes[0] not in (await ann.page("/account/recovery")).text
    fields = {"username": "ann", "code": codes[0], "new_password": "a quite new password"}
    assert (await send(ann, "json", "/recover/code", **fields)).status == 204
    assert await codes_left(site) == 0


async def test_a_script_gets_codes_as_json(site: Site, ann: Visitor) -> None:
    await ann.sign_up("ann")
    answer = (await ann.post("/account/recovery/codes", json={})).json()
    assert (len(answer["codes"]), answer["codes_left"]) == (10, 10)


@pytest.mark.asvs("7.5.1")
async def test_new_codes_and_addresses_ask_for_a_recent_sign_in(tmp_path: Path) -> None:
    """A session may be stolen."""
    clock = Clock()
    async with serve(tmp_path, clock=clock) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        clock.now += 601
        for path in ("codes", "address", "address/remove"):
            answer: Any = await ann.post(f"/account/recovery/{path}", json={"email": "a@b.org"})
            assert (answer.status, answer.error) == (403, "reauthenticate")
        assert await codes_left(site) == 0


async def test_a_visitor_is_sent_to_the_sign_in(site: Site, visitor: Visitor) -> None:
    assert (await visitor.page("/account/recovery")).headers["Location"] == (
        "/login?next=%2Faccount%2Frecovery"
    )
    assert (await visitor.post("/account/recovery/codes", json={})).status == 401


@each_kind
async def test_a_change_of_the_password_voids_the_codes(
    site: Site, ann: Visitor, kind: str
) -> None:
    """Somebody who knew the old password may have made them."""
    await ann.sign_up("ann")
    made = (await ann.post("/account/recovery/codes", json={})).json()["codes"]
    fields = {"password": PASSWORD, "new_password": NEW}
    answer = await send(ann, kind, "/account/password", **fields)
    if kind == "form":
        page = (await ann.page(answer.headers["Location"])).text
        assert "Your recovery codes are void; make new ones." in page
    async with Visitor(site.url) as thief:
        stolen = {"username": "ann", "code": made[0], "new_password": "the password of a thief"}
        assert (await send(thief, "json", "/recover/code", **stolen)).status == 401
    assert await codes_left(site) == 0


async def test_a_reset_by_a_link_voids_the_codes(site: Site, ann: Visitor) -> None:
    """The page says so."""
    await ann.sign_up("ann")
    await ann.post("/account/recovery/codes", json={})
    token = await site.services.one_time_links.create(await account_id(site, "ann"), "reset", 60)
    answer = await send(ann, "form", "/reset", token=token, new_password=NEW)
    assert "Your recovery codes are void" in (await ann.page(answer.headers["Location"])).text
    assert await codes_left(site) == 0


@each_kind
async def test_a_user_makes_five_lists_of_codes_an_hour(
    site: Site, ann: Visitor, kind: str
) -> None:
    """Each costs ten hashes."""
    await ann.sign_up("ann")
    for _ in range(5):
        assert (await send(ann, kind, "/account/recovery/codes")).status == 200
    answer = await send(ann, kind, "/account/recovery/codes")
    assert (answer.status, "too many lists of recovery codes; wait " in answer.text) == (429, True)
    assert 60 < int(answer.headers["Retry-After"]) <= 3600
