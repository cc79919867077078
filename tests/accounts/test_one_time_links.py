"""One-time links in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.accounts import Account, Accounts, InvalidAccount, OneTimeLinks
from tests.support.accounts import opened
from tests.support.forms import PASSWORD
from tests.support.postgres import Place

HOUR = 3600.0


@pytest.fixture
async def accounts(place: Place) -> AsyncIterator[Accounts]:
    """The accounts of a place, with that of Ann."""
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        yield accounts


@pytest.fixture
async def ann(accounts: Accounts) -> Account:
    """Ann's account."""
    account = await accounts.by_name("ann")
    assert account is not None
    return account


@pytest.mark.asvs("6.4.1", "6.5.1")
async def test_a_link_is_used_once(accounts: Accounts, ann: Account) -> None:
    """It names the account; looking at it first does not use it."""
    links = OneTimeLinks(accounts)
    token = await links.create(ann.id, "reset", HOUR)
    seen, used = await links.peek(token, "reset"), await links.use(token, "reset")
    assert seen == used
    assert used is not None
    assert (used.account, used.email) == (ann, None)
    assert await links.use(token, "reset") is None
    assert await links.peek(token, "reset") is None


async def test_of_many_uses_at_once_one_succeeds(accounts: Accounts, ann: Account) -> None:
    """Those of another process count too: it has a pool of threads of its own."""
    links = OneTimeLinks(accounts)
    for _ in range(5):
        token = await links.create(ann.id, "reset", HOUR)
        uses = await asyncio.gather(*(links.use(token, "reset") for _ in range(8)))
        assert sum(use is not None for use in uses) == 1


@pytest.mark.asvs("6.4.1", "6.5.5")
async def test_an_expired_link_is_refused(accounts: Accounts, ann: Account) -> None:
    links = OneTimeLinks(accounts)
    token = await links.create(ann.id, "reset", -1.0)
    assert await links.use(token, "reset") is None


async def test_expired_links_are_removed(place: Place, accounts: Accounts, ann: Account) -> None:
    """The next link of any account removes them."""
    links = OneTimeLinks(accounts)
    await links.create(ann.id, "reset", -1.0)
    await links.create(ann.id, "email", HOUR, "ann@example.org")
    assert place.run("SELECT purpose FROM one_time_links") == [("email",)]


async def test_a_link_is_for_one_purpose(accounts: Accounts, ann: Account) -> None:
    links = OneTimeLinks(accounts)
    token = await links.create(ann.id, "email", HOUR, "ann@example.org")
    assert await links.use(token, "reset") is None
    used = await links.use(token, "email")
    assert used is not None
    assert used.email == "ann@example.org"


async def test_a_new_link_replaces_the_earlier_one(accounts: Accounts, ann: Account) -> None:
    """One of another purpose stays."""
    links = OneTimeLinks(accounts)
    old, other = (
        await links.create(ann.id, "reset", HOUR),
        await links.create(ann.id, "email", HOUR),
    )
    new = await links.create(ann.id, "reset", HOUR)
    assert await links.use(old, "reset") is None
    assert await links.use(new, "reset")
    assert await links.use(other, "email")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE accounts SET password_hash = 'another'",
        "UPDATE accounts SET email = 'other@example.org'",
        "UPDATE accounts SET disabled = 1",
        "DELETE FROM accounts",
    ],
)
async def test_a_link_dies_with_the_state_that_it_was_made_for(
    place: Place, accounts: Accounts, ann: Account, change: str
) -> None:
    """A changed password or address, a disabled or deleted account."""
    links = OneTimeLinks(accounts)
    token = await links.create(ann.id, "reset", HOUR)
    place.run(change)
    assert await links.peek(token, "reset") is None
    assert await links.use(token, "reset") is None


async def test_a_deleted_account_takes_its_links_with_it(
    place: Place, accounts: Accounts, ann: Account
) -> None:
    links = OneTimeLinks(accounts)
    await links.create(ann.id, "reset", HOUR)
    assert await accounts.remove(ann)
    assert place.run("SELECT * FROM one_time_links") == []
    with pytest.raises(InvalidAccount):
        await links.create(ann.id, "reset", HOUR)


@pytest.mark.asvs("6.5.2", "6.5.3", "6.5.4")
async def test_the_database_has_no_token(place: Place, accounts: Accounts, ann: Account) -> None:
    """A stolen backup gives nobody a link; the token has 256 random bits."""
    links = OneTimeLinks(accounts)
    token = await links.create(ann.id, "reset", HOUR)
    assert len(token) == 43
    assert token not in str(place.run("SELECT * FROM one_time_links"))


@pytest.mark.parametrize("token", ["", "x", "\0", "\ud800", "a" * 100_000, "zoë"])
async def test_a_guessed_token_is_no_link(accounts: Accounts, ann: Account, token: str) -> None:
    links = OneTimeLinks(accounts)
    await links.create(ann.id, "reset", HOUR)
    assert await links.use(token, "reset") is None
