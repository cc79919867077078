"""`@recent_sign_in` on pages, and the page that asks for the proof."""

from __future__ import annotations

import dataclasses
import logging
import re
from html import unescape
from typing import Any

import pytest
from pyotp.totp import TOTP

from app.testing import MovableClock
from app.testing.visitor import PAGE
from tests.support.accounts import account_id
from tests.support.admins import acting
from tests.support.browsers import session_id
from tests.support.forms import PASSWORD, ask, each_kind, send, who
from tests.support.site import Site
from tests.support.step_up import LATE, PROOF, prove
from tests.support.visitor import Visitor

JSON = {"Accept": "application/json"}


def action(text: str) -> str:
    """Return the address that the form in a page is sent to."""
    found = re.search(r'<form id="(?!logout)[\w-]+" method="post" action="([^"]*)"', text)
    assert found is not None, text
    return unescape(found[1])


def hidden(text: str) -> dict[str, str]:
    """Return the hidden fields of a page."""
    found = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', text)
    return {unescape(name): unescape(value) for name, value in found}


@pytest.mark.asvs("7.5.3")
async def test_a_link_leads_to_the_form_and_back(ann: Visitor, clock: MovableClock) -> None:
    """With an old proof; with a recent one the page is shown at once."""
    await ann.sign_up("ann")
    assert await ask(ann, "/transfer?to=bob") == (200, "the page")
    clock.now += LATE
    asked = await ask(ann, "/transfer?to=bob")
    assert asked.status == 303
    form = await ask(ann, asked.headers["Location"])
    assert form.status == 200
    answer = await ann.submit(action(form.text), PROOF)
    assert (answer.status, answer.headers["Location"]) == (303, "/transfer?to=bob")
    assert await ask(ann, "/transfer?to=bob") == (200, "the page")


@pytest.mark.asvs("7.2.4")
async def test_a_proof_gives_a_new_id_with_the_same_data(site: Site, ann: Visitor) -> None:
    """The old cookie is a stranger's from then on."""
    await ann.sign_up("ann")
    await ann.incr()
    before = ann.cookie
    assert await prove(ann) == 204
    assert session_id(ann.cookie) != session_id(before)
    assert (await who(ann), await ann.incr()) == ("ann", 2)
    async with Visitor(site.url, Cookie=before) as thief:
        assert await who(thief) is None
        assert (await thief.get("/transfer")).status == 302
        assert await prove(thief) == 401


@pytest.mark.asvs("7.5.3")
async def test_a_script_is_told_to_ask(ann: Visitor, clock: MovableClock) -> None:
    """403 with one word; `GET /session` says when the user has proven it."""
    await ann.sign_up("ann")
    signed_in = int(clock.now)
    clock.now += LATE
    assert (await ann.get("/session")).json()["authenticated"] == signed_in
    for method in ("GET", "POST"):
        answer = await ann.request(method, "/transfer", headers=JSON)
        assert (answer.status, answer.json()) == (403, {"error": "reauthenticate"})
    answer = await ann.request("DELETE", "/transfer")
    assert (answer.status, answer.json()) == (403, {"error": "reauthenticate"})
    assert await prove(ann) == 204
    assert (await ann.get("/session")).json()["authenticated"] == int(clock.now)
    assert (await ann.request("DELETE", "/transfer")).status == 200


async def test_a_form_is_sent_again_after_the_proof(ann: Visitor, clock: MovableClock) -> None:
    """Nothing that was typed is lost, also if the first password was wrong."""
    await ann.sign_up("ann")
    clock.now += LATE
    typed = {"to": "Ünal <b>", "note": 'one\r\n"two"'}
    asked = await ann.post("/transfer", headers=PAGE, data=typed, follow=True)
    assert asked.status == 200
    for word in ("wrong wrong", PASSWORD):
        fields = {**hidden(asked.text), "password": word}
        asked = await ann.submit(action(asked.text), fields)
    assert "password" not in hidden(asked.text)
    answer = await ann.submit(action(asked.text), hidden(asked.text))
    assert answer.text == f"sent {list(typed.values())}"


@pytest.mark.parametrize("field", ["new_password", "code", "username"])
async def test_a_form_with_a_secret_is_not_shown_again(
    ann: Visitor, clock: MovableClock, field: str
) -> None:
    """The page leads back to the form."""
    await ann.sign_up("ann")
    clock.now += LATE
    asked = await ann.post(
        "/transfer",
        headers={**PAGE, "Referer": ann.url + "/form?of=ann"},
        data={field: "geheim"},
        follow=True,
    )
    assert "geheim" not in asked.text
    answer = await ann.submit(action(asked.text), PROOF)
    assert (answer.status, answer.headers["Location"]) == (303, "/form?of=ann")


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
async def test_the_page_leads_to_no_other_site(ann: Visitor, target: str) -> None:
    """Neither as `next`, nor as the page of a form."""
    await ann.sign_up("ann")
    answer = await ann.post("/reauthenticate", headers=PAGE, params={"next": target}, data=PROOF)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    asked = await ann.post(
        "/reauthenticate", headers=PAGE, params={"form": target}, data={"code": "1"}
    )
    assert "evil" not in asked.text


@pytest.mark.asvs("6.3.1")
async def test_wrong_passwords_change_nothing_and_are_limited(site: Site, ann: Visitor) -> None:
    """They count as those of the account page do."""
    await ann.sign_up("ann")
    before = ann.cookie
    for _ in range(3):
        answer = await send(ann, "json", "/reauthenticate", password="wrong wrong")
        assert (answer.status, answer.error) == (403, "Wrong password.")
    answer = await send(ann, "json", "/reauthenticate", **PROOF)
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert ann.cookie == before
    answer = await send(ann, "form", "/account/delete", **PROOF)
    assert answer.status == 429


async def test_another_users_name_or_password_is_refused(site: Site, ann: Visitor) -> None:
    """The session stays that of its user."""
    await site.services.accounts.register("bob", "the password of bob")
    await ann.sign_up("ann")
    for fields in ({"username": "bob"}, {"password": "the password of bob"}):
        answer = await ann.post("/reauthenticate", json={**PROOF, **fields})
        assert answer.status == 403
        answer = await ann.post(
            "/reauthenticate", json={"username": "bob", "password": "the password of bob"}
        )
        assert answer.status == 403
    assert await who(ann) == "ann"
    assert await prove(ann, username="ANN") == 204


async def test_visitors_are_sent_to_sign_in(visitor: Visitor) -> None:
    """A script gets 401."""
    answer = await ask(visitor, "/transfer")
    assert (answer.status, answer.headers["Location"]) == (302, "/login?next=%2Ftransfer")
    answer = await ask(visitor, "/reauthenticate?next=/transfer")
    assert answer.status == 302
    assert answer.headers["Location"].startswith("/login?next=")
    assert (await visitor.get("/transfer", headers=JSON)).status == 401
    assert await prove(visitor) == 401


async def test_an_administrator_who_acts_as_the_user_is_refused(site: Site, ann: Visitor) -> None:
    """They can neither prove it for the user, nor do what needs the proof."""
    await acting(site, ann)
    assert (await ann.get("/session")).json()["actor"] == "root"
    for method, path in (("GET", "/transfer"), ("POST", "/transfer"), ("GET", "/reauthenticate")):
        answer = await ann.request(method, path, headers=JSON)
        assert (answer.status, "only the user" in answer.error.lower()) == (403, True)
    assert await prove(ann) == 403


async def test_other_devices_stay_stale(site: Site, ann: Visitor, clock: MovableClock) -> None:
    """A proof counts for the session that gave it."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        clock.now += LATE
        assert await prove(ann) == 204
        assert (await ann.get("/transfer", headers=JSON)).status == 200
        assert (await two.get("/transfer", headers=JSON)).status == 403


async def test_a_clock_that_was_set_back_makes_no_proof_recent(
    ann: Visitor, clock: MovableClock
) -> None:
    """A proof of tomorrow would be recent for a day."""
    clock.now += 86_400
    await ann.sign_up("ann")
    clock.now -= 86_400
    assert (await ann.get("/transfer", headers=JSON)).json() == {"error": "reauthenticate"}


async def test_a_disabled_account_proves_nothing(site: Site, ann: Visitor) -> None:
    """Also if it is disabled while the password is checked; the session is gone then."""
    await ann.sign_up("ann")
    accounts = site.services.accounts
    site.services.sign_in.may_sign_in.append(lambda account: "You are banned.")
    answer = await send(ann, "json", "/reauthenticate", **PROOF)
    assert (answer.status, answer.error) == (403, "You are banned.")
    answers = iter([None, "You are banned."])
    site.services.sign_in.may_sign_in[-1] = lambda account: next(answers)
    answer = await send(ann, "json", "/reauthenticate", **PROOF)
    assert (answer.status, answer.error) == (403, "You are banned.")
    assert await who(ann) is None
    assert await accounts.verify("ann", PASSWORD) == "ann"


async def without_password(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let accounts be as those that sign in another way."""
    accounts = site.services.accounts
    real = accounts.by_id

    async def by_id(account_id: str) -> Any:
        return dataclasses.replace(await real(account_id), has_password=False)

    monkeypatch.setattr(accounts, "by_id", by_id)


async def test_an_account_without_a_password_is_told_so(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a sentence that says what to do."""
    await ann.sign_up("ann")
    await without_password(site, monkeypatch)
    answer = await send(ann, "json", "/reauthenticate", **PROOF)
    assert answer.status == 409
    assert "no password" in answer.error
    assert "no password" in (await ask(ann, "/reauthenticate")).text


async def test_an_account_without_a_password_proves_a_code(
    site: Site, ann: Visitor, monkeypatch: pytest.MonkeyPatch, clock: MovableClock
) -> None:
    """Each code once; wrong ones are limited."""
    await ann.sign_up("ann")
    user_id, totp = await account_id(site, "ann"), site.services.totp
    secret = TOTP((await totp.begin(user_id)).secret)
    assert await totp.confirm(user_id, secret.at(int(clock.now)))
    await without_password(site, monkeypatch)
    clock.now += LATE
    assert 'name="code"' in (await ask(ann, "/reauthenticate?next=/transfer")).text
    code = secret.at(int(clock.now))
    assert (await send(ann, "json", "/reauthenticate", code=code)).status == 204
    assert (await ann.get("/transfer", headers=JSON)).status == 200
    answer = await send(ann, "json", "/reauthenticate", code=code)
    assert (answer.status, answer.error) == (403, "Wrong code.")
    statuses = [(await send(ann, "json", "/reauthenticate", code="1")).status for _ in range(12)]
    assert statuses[0] == 403
    assert statuses[-1] == 429


async def test_the_audit_log_has_a_line(ann: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    """For a proof, and for one that failed."""
    caplog.set_level(logging.INFO, logger="latchkey.audit")
    await ann.sign_up("ann")
    await send(ann, "json", "/reauthenticate", password="wrong wrong")
    await prove(ann)
    lines = [record.getMessage() for record in caplog.records if record.name == "latchkey.audit"]
    assert any("wrong password: reauthentication" in line for line in lines)
    assert any(
        line.startswith("reauthentication user='ann'") and "method='password'" in line
        for line in lines
    )


@each_kind
async def test_a_name_with_percent_signs_is_shown_as_it_is(ann: Visitor, kind: str) -> None:
    """Tornado doubles them in the message of an error that has no arguments."""
    await ann.sign_up("50% %s")
    answer = await send(ann, kind, "/reauthenticate", username="bob", **PROOF)
    assert answer.status == 403
    assert "You are signed in as 50% %s; enter your own password." in unescape(answer.text)
