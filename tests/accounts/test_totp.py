"""Second factors in the database: enrolment, the window of codes, and each code once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pyotp
import pytest
import sqlalchemy as sa
from pyotp.totp import TOTP

from app.accounts import (
    Account,
    Accounts,
    InvalidAccount,
    Proof,
    Totp,
    TotpOn,
    TrustedDevices,
)
from app.accounts.account_changes import AccountChanges
from tests.support.accounts import opened
from tests.support.clock import Clock
from tests.support.forms import PASSWORD
from tests.support.postgres import Place
from tests.support.second_factors import code, wrong
from tests.support.waiting import until


class Parts:
    """The accounts of a place, and Ann's account."""

    def __init__(self, accounts: Accounts, ann: Account) -> None:
        self.accounts, self.ann, self.clock = accounts, ann, Clock()
        self.totp = Totp(accounts, self.clock)
        self.devices = TrustedDevices(accounts, self.clock)

    async def enrol(self) -> str:
        """Turn the second factor of Ann on, and wait for the next code; return its secret."""
        secret = (await self.totp.begin(self.ann.id)).secret
        assert await self.totp.confirm(self.ann.id, code(secret, self.clock))
        self.clock.now += 60
        return secret

    async def trust(self, proof: Proof, user_agent: str) -> str:
        """Trust a device of Ann, whose second factor is on; return its token."""
        factor = await self.totp.state(self.ann.id)
        assert factor is not None
        return await self.devices.trust(proof, factor, user_agent)


@contextlib.asynccontextmanager
async def parts(place: Place) -> AsyncIterator[Parts]:
    async with opened(place) as accounts:
        proof = await accounts.create("Ann", PASSWORD)
        assert proof.account is not None
        yield Parts(accounts, proof.account)


async def test_a_secret_is_in_force_when_its_first_code_was_shown(place: Place) -> None:
    """Until then no code of it is valid, and a new secret replaces it."""
    async with parts(place) as here:
        first = (await here.totp.begin(here.ann.id)).secret
        assert not await here.totp.check(here.ann.id, code(first, here.clock))
        second = (await here.totp.begin(here.ann.id)).secret
        assert not await here.totp.confirm(here.ann.id, code(first, here.clock))
        assert not await here.totp.is_on(here.ann.id)
        assert await here.totp.confirm(here.ann.id, code(second, here.clock))
        assert await here.totp.is_on(here.ann.id)
        with pytest.raises(TotpOn):
            await here.totp.begin(here.ann.id)


@pytest.mark.asvs("6.5.3")
async def test_secrets_are_long_and_random(place: Place) -> None:
    """160 bits, as RFC 4226 asks for, and never the same."""
    async with parts(place) as here:
        secrets = {(await here.totp.begin(here.ann.id)).secret for _ in range(5)}
    assert len(secrets) == 5
    assert {len(TOTP(secret).byte_secret()) for secret in secrets} == {20}


@pytest.mark.asvs("6.5.5", "6.5.8")
async def test_a_code_is_valid_within_one_step_of_the_servers_time(place: Place) -> None:
    """The one before, the current and the next; with spaces, and in digits of any keyboard."""
    async with parts(place) as here:
        secret = await here.enrol()
        for steps, valid in ((-2, False), (2, False), (-1, True), (0, True), (1, True)):
            assert await here.totp.check(here.ann.id, code(secret, here.clock, steps)) is valid
        here.clock.now += 60
        current = code(secret, here.clock)
        wide = "".join(chr(ord(digit) + 0xFEE0) for digit in current)
        assert await here.totp.check(here.ann.id, f" {wide[:3]} {wide[3:]}\n")


@pytest.mark.asvs("6.5.1")
async def test_a_code_is_used_once_and_no_earlier_one_after_it(place: Place) -> None:
    """The code that confirmed the secret counts as used."""
    async with parts(place) as here:
        secret = (await here.totp.begin(here.ann.id)).secret
        first = code(secret, here.clock)
        assert await here.totp.confirm(here.ann.id, first)
        assert not await here.totp.check(here.ann.id, first)
        assert await here.totp.check(here.ann.id, code(secret, here.clock, 1))
        assert not await here.totp.check(here.ann.id, code(secret, here.clock, 1))
        assert not await here.totp.check(here.ann.id, first)


@pytest.mark.asvs("6.5.1")
async def test_of_one_code_used_by_two_at_once_one_wins(place: Place) -> None:
    """In two processes too."""
    async with parts(place) as here, opened(place) as elsewhere:
        there = Totp(elsewhere, here.clock)
        secret = await here.enrol()
        for _ in range(5):
            shown = code(secret, here.clock)
            checks = (totp.check(here.ann.id, shown) for totp in (here.totp, there) * 4)
            assert sorted(await asyncio.gather(*checks)) == [False] * 7 + [True]
            here.clock.now += 30


@pytest.mark.parametrize(
    "typed", ["", "12345", "1234567", "12345a", "²²²²²²", "1" * 10_000, "\0", "\ud800" * 6]
)
async def test_what_is_no_code_is_wrong(place: Place, typed: str) -> None:
    """Nothing of it raises."""
    async with parts(place) as here:
        await here.enrol()
        assert not await here.totp.check(here.ann.id, typed)


async def test_a_wrong_code_uses_nothing_up(place: Place) -> None:
    """The right one is still valid after it."""
    async with parts(place) as here:
        secret = await here.enrol()
        assert not await here.totp.check(here.ann.id, wrong(secret, here.clock))
        assert await here.totp.check(here.ann.id, code(secret, here.clock))


@pytest.mark.asvs("6.5.6")
async def test_a_second_factor_that_is_off_is_forgotten(place: Place) -> None:
    """Its codes are invalid, its devices are trusted no more, and a new secret may begin."""
    async with parts(place) as here:
        secret = await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        token = await here.trust(proof, "Firefox")
        assert await here.totp.remove(here.ann.id)
        assert not await here.totp.remove(here.ann.id)
        assert not await here.totp.check(here.ann.id, code(secret, here.clock))
        await here.enrol()
        assert not await here.devices.knows(proof, token)


async def test_an_account_that_is_deleted_has_no_second_factor(place: Place) -> None:
    """Neither before nor after its deletion does a row stay behind."""
    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        await here.trust(proof, "Firefox")
        await here.accounts.remove(here.ann)
        with pytest.raises(InvalidAccount, match="does not exist"):
            await here.totp.begin(here.ann.id)
    assert place.run("SELECT * FROM totp") == place.run("SELECT * FROM trusted_devices") == []


async def test_the_uri_names_the_site_and_the_user(place: Place) -> None:
    """Authenticator apps list both; a colon in a name would part them elsewhere."""
    async with parts(place) as here:
        state = await here.totp.begin(here.ann.id)
    ann = Account(id="u:1", name="ann: the great", created=0)
    parsed = pyotp.parse_uri(state.uri(ann, "a site: ours"))
    assert (parsed.secret, parsed.issuer, parsed.name) == (
        state.secret,
        "a site  ours",
        "ann  the great",
    )


# -- trusted devices --


async def test_a_token_is_valid_for_thirty_days_for_its_account(place: Place) -> None:
    """Nobody else's password goes with it, and the database does not have it."""
    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        token = await here.trust(proof, "Firefox\0")
        bob = await here.accounts.create("Bob", PASSWORD)
        assert await here.devices.knows(proof, token)
        assert not await here.devices.knows(bob, token)
        assert not await here.devices.knows(proof, token[:-1])
        assert token not in str(place.run("SELECT * FROM trusted_devices"))
        here.clock.now += 30 * 86_400
        assert not await here.devices.knows(proof, token)
        assert await here.devices.list(here.ann.id) == ()
        await here.trust(proof, "Safari")
        assert len(place.run("SELECT * FROM trusted_devices")) == 1


async def test_another_password_ends_the_trust(place: Place) -> None:
    """Whoever changes it, and in whichever way."""
    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        token = await here.trust(proof, "Firefox")
        await here.accounts.change_password(proof, "another password")
        changed = await here.accounts.prove("Ann", "another password")
        assert not await here.devices.knows(changed, token)


async def test_an_account_that_was_disabled_trusts_no_device_of_before(place: Place) -> None:
    """Also after it is enabled again."""
    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        token = await here.trust(proof, "Firefox")
        changes = AccountChanges(here.accounts.database, here.accounts)
        for disabled in (True, False):
            await changes.set_disabled(here.ann, disabled)
        assert not await here.devices.knows(proof, token)


@pytest.mark.asvs("6.5.6")
async def test_devices_are_forgotten_one_by_one_or_all(place: Place) -> None:
    """By their public ids, and only those of the account."""
    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        tokens = []
        for agent in ("Firefox", "Safari", "Edge"):
            tokens.append(await here.trust(proof, agent))
            here.clock.now += 1
        listed = await here.devices.list(here.ann.id)
        assert [device.user_agent for device in listed] == ["Edge", "Safari", "Firefox"]
        assert await here.devices.forget("u:somebody else", listed[0].id) == 0
        assert await here.devices.forget(here.ann.id, listed[0].id) == 1
        assert [await here.devices.knows(proof, token) for token in tokens] == [True, True, False]
        assert await here.devices.forget(here.ann.id) == 2
        assert not await here.devices.knows(proof, tokens[0])


@pytest.mark.asvs("6.5.6")
@pytest.mark.parametrize("change", ["off", "off and on", "disabled", "deleted"])
async def test_a_change_during_a_sign_in_leaves_no_device_trusted(
    place: Place, change: str
) -> None:
    """The device was to be trusted for the second factor and the account of before."""
    async with parts(place) as here:
        await here.enrol()
        proof, factor = (
            await here.accounts.prove("Ann", PASSWORD),
            await here.totp.state(here.ann.id),
        )
        assert factor is not None
        if change == "disabled":
            await AccountChanges(here.accounts.database, here.accounts).set_disabled(here.ann, True)
        elif change == "deleted":
            await here.accounts.remove(here.ann)
        else:
            await here.totp.remove(here.ann.id)
        if change == "off and on":
            await here.enrol()
        assert await here.devices.trust(proof, factor, "Firefox") == ""
    assert place.run("SELECT * FROM trusted_devices") == []


async def test_to_turn_the_second_factor_off_waits_for_a_device_that_is_being_trusted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And forgets it as well."""
    reached, go_on = threading.Event(), threading.Event()
    insert = sa.insert

    def held(table: sa.Table) -> sa.Insert:
        reached.set()
        go_on.wait(5)
        return insert(table)

    async with parts(place) as here:
        await here.enrol()
        proof = await here.accounts.prove("Ann", PASSWORD)
        monkeypatch.setattr(sa, "insert", held)
        trusting = asyncio.ensure_future(here.trust(proof, "Firefox"))
        await until(reached.is_set)
        removal = asyncio.ensure_future(here.totp.remove(here.ann.id))
        await asyncio.sleep(0.2)  # time to remove, if it did not wait
        go_on.set()
        assert await trusting
        assert await removal
    assert place.run("SELECT * FROM trusted_devices") == []
