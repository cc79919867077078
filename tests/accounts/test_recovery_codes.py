"""Recovery codes in both databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.accounts import Account, Accounts, InvalidAccount, RecoveryCodes, passwords
from tests.support.accounts import opened
from tests.support.forms import PASSWORD
from tests.support.postgres import Place


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


@pytest.mark.asvs("6.5.1")
async def test_each_code_works_once(accounts: Accounts, ann: Account) -> None:
    codes = RecoveryCodes(accounts)
    first, second, *_ = made = await codes.create(ann.id)
    assert len(set(made)) == await codes.left(ann.id) == 10
    assert [await codes.use(ann.id, code) for code in (first, first, second)] == [True, False, True]
    assert await codes.left(ann.id) == 8


async def test_of_many_uses_of_a_code_at_once_one_succeeds(
    accounts: Accounts, ann: Account
) -> None:
    codes = RecoveryCodes(accounts)
    for code in (await codes.create(ann.id))[:3]:
        uses = await asyncio.gather(*(codes.use(ann.id, code) for _ in range(6)))
        assert sum(uses) == 1


async def test_what_a_user_types_may_have_capitals_and_spaces(
    accounts: Accounts, ann: Account
) -> None:
    codes = RecoveryCodes(accounts)
    first, second, *_ = await codes.create(ann.id)
    assert await codes.use(ann.id, f" {first.upper().replace('-', ' ')} ")
    assert await codes.use(ann.id, second.replace("-", ""))


async def test_new_codes_replace_the_old_ones(accounts: Accounts, ann: Account) -> None:
    """Also of two lists that are made at once one is left."""
    codes = RecoveryCodes(accounts)
    old = await codes.create(ann.id)
    lists = await asyncio.gather(codes.create(ann.id), codes.create(ann.id))
    assert await codes.left(ann.id) == 10
    assert not await codes.use(ann.id, old[0])
    assert sorted([await codes.use(ann.id, each[0]) for each in lists]) == [False, True]


@pytest.mark.parametrize("code", ["", "-", "\0", "\ud800", "a" * 100_000, "zoë-zoë", "x" * 12])
async def test_a_wrong_code_is_refused(accounts: Accounts, ann: Account, code: str) -> None:
    codes = RecoveryCodes(accounts)
    await codes.create(ann.id)
    assert not await codes.use(ann.id, code)
    assert not await codes.use("u:" + 32 * "0", code)
    assert not await codes.use("\0", code)


async def test_a_code_is_for_its_account(accounts: Accounts, ann: Account) -> None:
    await accounts.register("bob", PASSWORD)
    bob = await accounts.by_name("bob")
    assert bob is not None
    codes = RecoveryCodes(accounts)
    (code, *_), _ = await codes.create(ann.id), await codes.create(bob.id)
    assert not await codes.use(bob.id, code)


@pytest.mark.asvs("6.5.2", "6.5.3", "6.5.4")
async def test_the_database_has_salted_hashes_of_the_codes(
    place: Place, accounts: Accounts, ann: Account
) -> None:
    """A code has 57 random bits, which argon2id protects; each list has a salt of its own."""
    codes = RecoveryCodes(accounts)
    made = await codes.create(ann.id)
    stored = place.run("SELECT salt, code_hash FROM recovery_codes")
    assert {salt.rpartition(":")[0] for salt, _ in stored} == {
        f"argon2id:{passwords.MEMORY_COST}:{passwords.TIME_COST}"
    }
    assert len({salt for salt, _ in stored}) == 1
    assert not [code for code in made if code.replace("-", "") in str(stored)]
    await codes.create(ann.id)
    assert place.run("SELECT salt FROM recovery_codes")[0][0] != stored[0][0]


async def test_codes_outlive_a_change_of_the_costs(
    accounts: Accounts, ann: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later release may hash at other costs; the codes of today are still good."""
    code, *_ = await RecoveryCodes(accounts).create(ann.id)
    monkeypatch.setattr("app.accounts.passwords.MEMORY_COST", 64)
    assert await RecoveryCodes(accounts).use(ann.id, code)


async def test_a_deleted_account_takes_its_codes_with_it(
    place: Place, accounts: Accounts, ann: Account
) -> None:
    codes = RecoveryCodes(accounts)
    await codes.create(ann.id)
    assert await accounts.remove(ann)
    assert place.run("SELECT * FROM recovery_codes") == []
    with pytest.raises(InvalidAccount):
        await codes.create(ann.id)
