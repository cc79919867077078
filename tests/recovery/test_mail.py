"""Confirmed addresses, links by mail, and what users are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pyotp.totp import TOTP

from tests.support.accounts import account_id
from tests.support.devices import NEW
from tests.support.forms import PASSWORD, each_kind, send
from tests.support.mail_server import MailServer, link, mail_options, mail_server, text, token
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

ANN = "ann@example.com"
OF_REQUEST = ("Date", "X-Request-ID")  # headers that differ in any two answers


@pytest.fixture
async def mails() -> AsyncIterator[MailServer]:
    """The mail server."""
    async with mail_server() as server:
        yield server


@pytest.fixture
async def site(tmp_path: Path, mails: MailServer) -> AsyncIterator[Site]:
    """The demo, which sends its mails there."""
    async with serve(tmp_path, **mail_options(mails)) as site:
        yield site


async def with_address(site: Site, name: str = "ann", email: str = ANN) -> None:
    """Make an account that has confirmed an address."""
    await site.services.accounts.register(name, PASSWORD)
    await give(site, name, email)


async def give(site: Site, name: str, email: str = ANN) -> None:
    """Confirm an address of an account."""
    links, user_id = site.services.one_time_links, await account_id(site, name)
    token = await links.create(user_id, "email", 60, email)
    assert await site.services.emails.confirm(token)


async def email_of(site: Site, name: str = "ann") -> str | None:
    """Return the confirmed address of an account."""
    account = await site.services.accounts.by_name(name)
    return account.email if account is not None else None


# -- addresses --


@each_kind
async def test_a_link_confirms_an_address(
    site: Site, ann: Visitor, mails: MailServer, kind: str
) -> None:
    """The account has no address until the link is used; opening it is not enough."""
    await ann.sign_up("ann")
    answer = await send(ann, kind, "/account/recovery/address", email=" Ann@Example.com ")
    assert answer.status == (303 if kind == "form" else 204), answer.text
    mail = await mails.mail()
    assert (mail["To"], await email_of(site)) == (ANN, None)
    async with Visitor(site.url) as phone:
        page = await phone.page(link(mail), follow=True)
        assert "<strong>ann</strong> gets mails at <strong>ann@example.com</strong>" in page.text
        assert await email_of(site) is None
        done = await send(phone, kind, "/confirm-address", token=token(mail))
        assert done.status == (303 if kind == "form" else 204)
        assert await email_of(site) == ANN
        again = await send(phone, kind, "/confirm-address", token=token(mail))
        assert again.status == 410
    assert (await ann.get("/account/recovery", headers={"Accept": "application/json"})).json() == {
        "user": "ann",
        "user_id": await account_id(site, "ann"),
        "codes_left": 0,
        "email": ANN,
    }


async def test_the_mail_to_an_unconfirmed_address_has_nothing_of_the_user(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    """A name may be an advertisement, and the address that of somebody else."""
    await ann.sign_up("buy at evil.example")
    assert (await send(ann, "json", "/account/recovery/address", email=ANN)).status == 204
    mail = await mails.mail()
    assert "evil" not in text(mail) + str(mail["Subject"])


async def test_a_change_and_a_removal_are_told_to_the_old_address(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    await with_address(site)
    await ann.sign_in("ann")
    await mails.mail()  # of the new device
    await send(ann, "json", "/account/recovery/address", email="new@example.net")
    await send(ann, "json", "/confirm-address", token=token(await mails.mail(2)))
    told = await mails.mail(3)
    assert (told["To"], "another address now: new@example.net" in text(told)) == (ANN, True)
    assert (await send(ann, "json", "/account/recovery/address/remove")).status == 204
    assert await email_of(site) is None
    told = await mails.mail(4)
    assert (told["To"], "has no address any more" in text(told)) == ("new@example.net", True)


@pytest.mark.parametrize("email", ["ann", "ann@localhost", "a@b.org\nBcc: c@d.org"])
async def test_a_wrong_address_is_refused(
    site: Site, ann: Visitor, mails: MailServer, email: str
) -> None:
    await ann.sign_up("ann")
    answer = await send(ann, "json", "/account/recovery/address", email=email)
    assert (answer.status, answer.error.startswith("Enter an address")) == (422, True)
    assert mails.mails == []


async def test_mails_to_one_address_are_limited(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    """Nobody is flooded by those who enter a foreign address."""
    await ann.sign_up("ann")
    for _ in range(5):
        assert (await send(ann, "json", "/account/recovery/address", email=ANN)).status == 204
    answer = await send(ann, "json", "/account/recovery/address", email=ANN)
    assert (answer.status, "Retry-After" in answer.headers) == (429, True)
    async with Visitor(site.url) as other:
        await other.sign_up("bob")
        answer = await send(other, "json", "/account/recovery/address", email=ANN)
        assert answer.status == 429


async def test_a_changed_password_kills_links_to_confirm(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    """Somebody with a stolen session has entered their own address; the user notices in time."""
    await ann.sign_up("ann")
    await send(ann, "json", "/account/recovery/address", email="thief@example.com")
    stolen = token(await mails.mail())
    fields = {"password": PASSWORD, "new_password": NEW}
    assert (await send(ann, "json", "/account/password", **fields)).status == 204
    assert (await send(ann, "json", "/confirm-address", token=stolen)).status == 410
    assert await email_of(site) is None


# -- links by mail --


@pytest.mark.asvs("6.4.3")
@each_kind
@pytest.mark.parametrize("typed", ["Ann", "Ann@Example.com"])
async def test_a_link_by_mail_sets_a_new_password(
    site: Site, visitor: Visitor, mails: MailServer, kind: str, typed: str
) -> None:
    """Asked for by name or address; the user is told that the password was changed."""
    await with_address(site)
    answer = await send(visitor, kind, "/recover", account=typed)
    assert answer.status == (303 if kind == "form" else 204)
    mail = await mails.mail()
    assert mail["To"] == ANN
    done = await send(visitor, kind, "/reset", token=token(mail), new_password=NEW)
    assert done.status == (303 if kind == "form" else 204)
    assert await site.services.accounts.verify("ann", NEW) == "ann"
    told = await mails.mail(2)
    assert (told["To"], "was changed by a link" in text(told)) == (ANN, True)


async def test_links_have_the_address_of_the_site_and_not_the_host_of_the_request(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    await with_address(site)
    await visitor.post("/recover", json={"account": "ann"}, headers={"Host": "localhost"})
    assert "https://example.org/reset?token=" in text(await mails.mail())
    assert "localhost" not in text(mails.mails[0])


@pytest.mark.asvs("6.3.8")
async def test_nobody_learns_by_words_or_work_who_has_an_account(
    site: Site, visitor: Visitor, mails: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answer, before any call of the database and any hash."""
    await with_address(site)
    await site.services.accounts.register("bob", PASSWORD)
    await with_address(site, "off", "off@example.com")
    with site.services.accounts.database.writing() as connection:
        connection.exec_driver_sql("UPDATE accounts SET disabled = 1 WHERE name = 'off'")
    asked: list[str] = []
    monkeypatch.setattr(
        site.services.account_mail,
        "request_reset",
        lambda typed, **_: asked.append(typed),
    )
    calls = site.services.accounts.calls
    monkeypatch.setattr(calls, "run", None)
    monkeypatch.setattr(calls, "hash", None)
    answers = set()
    names = ["ann", ANN, "bob", "off", "off@example.com", "unknown", "x@example.com", "\0"]
    for name in names:
        answer = await visitor.submit("/recover", {"account": name})
        headers = {key: value for key, value in answer.headers.items() if key not in OF_REQUEST}
        answers.add((answer.status, answer.text, str(headers)))
    assert len(answers) == 1
    assert asked == names


async def test_only_confirmed_addresses_of_enabled_accounts_get_a_link(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    """The last request is answered after those before it."""
    await site.services.accounts.register("bob", PASSWORD)
    await with_address(site, "off", "off@example.com")
    with site.services.accounts.database.writing() as connection:
        connection.exec_driver_sql("UPDATE accounts SET disabled = 1 WHERE name = 'off'")
    await with_address(site)
    for name in ("bob", "off", "off@example.com", "unknown", "x@example.com", "\0"):
        await visitor.post("/recover", json={"account": name})
    await until(lambda: site.services.account_mail._waiting == 0)
    await visitor.post("/recover", json={"account": "ann"})
    assert (await mails.mail())["To"] == ANN


async def test_requests_for_one_account_are_limited(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    """Five an hour, whether there is such an account or not."""
    for name in ("ann", "unknown"):
        for _ in range(5):
            assert (await visitor.post("/recover", json={"account": name})).status == 204
        answer = await visitor.post("/recover", json={"account": name.upper()})
        assert (answer.status, "Retry-After" in answer.headers) == (429, True)


async def test_mails_asked_for_by_name_and_by_address_are_counted_together(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    """Five an hour; the request for another account is answered after those before it."""
    await with_address(site)
    await with_address(site, "bob", "bob@example.com")
    for typed in ("ann", ANN):
        for _ in range(5):
            assert (await visitor.post("/recover", json={"account": typed})).status == 204
    await until(lambda: site.services.account_mail._waiting == 0)
    await visitor.post("/recover", json={"account": "bob"})
    await until(lambda: any(mail["To"] == "bob@example.com" for mail in mails.mails))
    assert [mail["To"] for mail in mails.mails].count(ANN) == 5


async def test_a_mail_does_not_replace_the_link_of_an_operator(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    """Anybody can ask for a mail."""
    await with_address(site)
    links, user_id = site.services.one_time_links, await account_id(site, "ann")
    given = await links.create(user_id, "reset", 3600)
    await visitor.post("/recover", json={"account": "ann"})
    mailed = token(await mails.mail())
    assert (await send(visitor, "json", "/reset", token=given, new_password=NEW)).status == 204
    other = await send(visitor, "json", "/reset", token=mailed, new_password="a third password")
    assert other.status == 410


async def test_a_mail_server_that_is_away_delays_nobody(
    site: Site, visitor: Visitor, mails: MailServer
) -> None:
    """The answer does not wait for the mail."""
    import asyncio

    mails.hold = asyncio.Event()
    await with_address(site)
    assert (await visitor.post("/recover", json={"account": "ann"})).status == 204
    await until(lambda: mails.tries == 1)
    assert mails.mails == []


async def test_a_site_without_mail_says_so(tmp_path: Path) -> None:
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        assert "By mail" not in (await visitor.page("/recover")).text
        assert (await visitor.post("/recover", json={"account": "ann"})).status == 409


# -- notices --


@pytest.mark.asvs("6.3.5")
async def test_a_sign_in_on_a_new_device_is_told_by_mail(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    """The next one on the same device is not, one on another device is."""
    await with_address(site)
    await ann.sign_in("ann")
    told = await mails.mail()
    assert (told["To"], "Address:  127.0.0.1" in text(told)) == (ANN, True)
    await ann.sign_in("ann")
    async with Visitor(site.url) as other:
        await other.sign_in("ann")
        await mails.mail(2)


@pytest.mark.asvs("6.3.7")
async def test_a_changed_password_is_told_by_mail(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    await with_address(site)
    await ann.sign_in("ann")
    await mails.mail()
    fields: dict[str, Any] = {"password": PASSWORD, "new_password": NEW}
    assert (await send(ann, "json", "/account/password", **fields)).status == 204
    assert "was changed on the account page" in text(await mails.mail(2))


@pytest.mark.asvs("6.3.7")
async def test_new_recovery_codes_and_two_step_sign_in_are_told_by_mail(
    site: Site, ann: Visitor, mails: MailServer
) -> None:
    await with_address(site)
    await ann.sign_in("ann")
    await mails.mail()
    await send(ann, "json", "/account/recovery/codes")
    assert "has new recovery codes" in text(await mails.mail(2))
    secret = (await send(ann, "json", "/account/sign-in/totp")).json()["secret"]
    shown = TOTP(secret).at(int(site.services.sessions.clock()))
    await send(ann, "json", "/account/sign-in/totp/confirm", code=shown)
    assert "was turned on for" in text(await mails.mail(3))
    await send(ann, "json", "/account/sign-in/totp/off")
    assert "was turned off for" in text(await mails.mail(4))


async def test_metrics_count_mails(site: Site, ann: Visitor, mails: MailServer) -> None:
    await with_address(site)
    await ann.sign_in("ann")
    await mails.mail()
    await until(lambda: site.services.mail.waiting == 0)
    assert b'latchkey_mails_total{result="sent"} 1.0' in site.services.metrics.text()
