"""A user has lost the phone: an operator turns two-step sign-in off."""

from __future__ import annotations

import pytest

from app.operator import Actor
from tests.support.accounts import account_id
from tests.support.admins import administrator
from tests.support.forms import PASSWORD, ask, each_kind, known, send
from tests.support.second_factors import enrol
from tests.support.site import Site
from tests.support.visitor import Visitor


@each_kind
@pytest.mark.asvs("6.5.6")
async def test_an_administrator_turns_two_step_sign_in_off(
    site: Site, visitor: Visitor, ann: Visitor, kind: str
) -> None:
    """After a question; the password is enough then, and the audit log names the administrator."""
    await known(site, "eve")
    id = await account_id(site, "eve")
    await administrator(site, visitor)
    assert "Turn off two-step" not in (await ask(visitor, f"/admin/accounts/{id}")).text
    await enrol(site, "eve")
    assert "Turn off two-step" in (await ask(visitor, f"/admin/accounts/{id}")).text
    path = f"/admin/accounts/{id}/two-step-off"
    assert "Turn off two-step sign-in of eve?" in (await send(visitor, kind, path)).text
    assert await site.services.totp.is_on(id)
    answer = await send(visitor, kind, path, confirm="yes")
    assert answer.status in (200, 204, 303), answer.text
    assert not await site.services.totp.is_on(id)
    (event,) = await site.services.audit_trail.of(id, 1)
    assert (event.event, event.actor) == ("two-step sign-in off", "root")
    signed_in = await send(ann, "json", "/login", username="eve", password=PASSWORD)
    assert signed_in.status in (200, 204)


async def test_trusted_devices_are_forgotten_and_all_are_told(site: Site) -> None:
    """Listeners of changed accounts hear of it once; a second call changes nothing."""
    await known(site, "eve")
    services, id = site.services, await account_id(site, "eve")
    await enrol(site, "eve")
    proof = await services.accounts.prove("eve", PASSWORD)
    assert await services.trusted_devices.trust(proof, await services.totp.state(id), "Firefox")
    told: list[str] = []
    services.accounts.on_changed += [told.append]
    boss, account = Actor(name="Boss", id="u:boss", address=""), proof.account
    assert await services.operator.two_step_off(account, boss)
    assert not await services.operator.two_step_off(account, boss)
    assert (await services.trusted_devices.list(id), told) == ((), [id])


async def test_the_page_of_the_code_tells_what_to_do_without_the_phone(
    site: Site, visitor: Visitor
) -> None:
    """It names the recovery codes and the operator."""
    await known(site, "eve")
    await enrol(site, "eve")
    await send(visitor, "form", "/login", username="eve", password=PASSWORD)
    assert "Lost your phone?" in (await ask(visitor, "/login/code")).text
