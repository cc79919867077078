"""Ids of accounts: they never change and never return, and older accounts keep their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.accounts import Account, Identity, IdentityTaken, InvalidAccount, NameTaken
from tests.support.accounts import add, opened
from tests.support.forms import PASSWORD
from tests.support.old_release import make_accounts
from tests.support.postgres import Place

_ID = re.compile(r"u:[0-9a-f]{32}")


async def test_the_name_is_the_id_of_an_account_that_is_older_than_ids(place: Place) -> None:
    """So that its sessions and the rows of forks, which hold the name, are still its own."""
    make_accounts(place, ["Zoë", "ann"])
    async with opened(place) as accounts:
        old = Account(id="Zoë", name="Zoë", created=1000.5)
        assert await accounts.by_id("Zoë") == await accounts.by_name("ZOË") == old
        assert (await accounts.prove("zoë", PASSWORD)).account == old
        assert await accounts.by_id("zoë") is None
    async with opened(place) as accounts:  # a second start changes nothing
        assert await accounts.by_id("Zoë") == old


async def test_an_id_never_returns(place: Place) -> None:
    """A new account with the name of a deleted one has another id, whichever release made that."""
    make_accounts(place, ["ann"])
    async with opened(place) as accounts:
        seen = {"ann"}
        for _ in range(3):
            account = await accounts.by_name("ann")
            assert account is not None
            assert await accounts.remove(account)
            assert not await accounts.remove(account)
            await accounts.register("ann", PASSWORD)
            again = await accounts.by_name("ann")
            assert again is not None
            assert _ID.fullmatch(again.id)
            assert again.id not in seen
            assert await accounts.by_id(account.id) is None
            seen.add(again.id)


async def test_an_older_release_may_run_beside_this_one(place: Place) -> None:
    """The accounts that it makes get ids from the database, and it can undo nothing of ours."""
    make_accounts(place, ["ann"])
    async with opened(place) as accounts:
        mine = (await accounts.create("bob", PASSWORD)).account
        place.run("INSERT INTO accounts (key, name, password_hash, created) VALUES ('c','C','',1)")
        place.run("INSERT INTO accounts (key, name, password_hash, created) VALUES ('d','d','',1)")
        one, other = await accounts.by_name("c"), await accounts.by_name("d")
        assert one is not None
        assert other is not None
        assert _ID.fullmatch(one.id)
        assert _ID.fullmatch(other.id)
        assert one.id != other.id
        assert not one.announced
    assert mine is not None
    stored = place.run("SELECT key, name, created, id FROM accounts ORDER BY key")
    assert [tuple(row) for row in stored][:2] == [
        ("ann", "ann", 1000.5, "ann"),
        ("bob", "bob", mine.created, mine.id),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("oidc:ann", "OIDC:ann", "u:0123", "https://id.example.com/ann", "mailto:ann@example.com"),
        *("//example.com/ann", "a//b", "oidc\uff1aann", "oidc\u02d0ann", "о\u0456dс\ua789ann"),
    ],
)
async def test_a_name_that_could_be_another_issuers_cannot_be_registered(
    name: str, tmp_path: Path
) -> None:
    """Nor one that looks so: full width, with another colon, or in Cyrillic."""
    async with opened(Place(tmp_path, None)) as accounts:
        with pytest.raises(InvalidAccount):
            await accounts.create(name, PASSWORD)
        with pytest.raises(InvalidAccount):
            await accounts.add(name)
        assert await accounts.by_name(name) is None


@pytest.mark.parametrize("name", ["10:30 club", "ann@example.com", "a/b", "Zoë: no"[:3], "a b: c"])
async def test_other_names_with_such_characters_can(name: str, tmp_path: Path) -> None:
    async with opened(Place(tmp_path, None)) as accounts:
        assert await accounts.register(name, PASSWORD) == name


async def test_the_command_refuses_the_name_of_another_issuer(tmp_path: Path) -> None:
    place = Place(tmp_path, None)
    code, _, error = await add("add", "oidc:ann", "--password-stdin", *place.flags)
    assert (code, error.count("\n")) == (1, 1)
    assert "does not begin with a word and a colon" in error


async def test_an_account_without_a_password_has_none_that_is_right(place: Place) -> None:
    """Neither an empty one nor any other, and a failed proof changes nothing."""
    async with opened(place) as accounts:
        account = await accounts.add("ann")
        for password in ("", PASSWORD, " " * 8):
            proof = await accounts.prove("ann", password)
            assert not proof
            assert not await accounts.change_password(proof, PASSWORD)
            assert not await accounts.delete(proof)
            assert not await accounts.still_valid(proof, password)
        assert await accounts.by_id(account.id) == account


@pytest.mark.asvs("6.8.1")
async def test_an_identity_names_one_account(place: Place) -> None:
    """It is found by issuer and subject together, and leaves with its account."""
    ann_there, bob_there = Identity("https://a.example", "1"), Identity("https://b.example", "1")
    async with opened(place) as accounts:
        assert await accounts.by_identity(ann_there) is None
        ann = await accounts.add("ann", identity=ann_there)
        bob = (await accounts.create("bob", PASSWORD)).account
        assert bob is not None
        with pytest.raises(IdentityTaken):
            await accounts.add("carl", identity=ann_there)
        assert await accounts.by_name("carl") is None
        with pytest.raises(NameTaken):
            await accounts.add("Ann", identity=bob_there)
        await accounts.link(bob, bob_there)
        await accounts.link(bob, bob_there)  # it has it already
        with pytest.raises(IdentityTaken):
            await accounts.link(ann, bob_there)
        assert await accounts.by_identity(ann_there) == ann
        assert (await accounts.by_identity(bob_there)) == bob
        assert not await accounts.unlink(ann, bob_there)
        assert await accounts.unlink(bob, bob_there)
        assert await accounts.by_identity(bob_there) is None
        assert await accounts.remove(ann)
        assert await accounts.by_identity(ann_there) is None
        with pytest.raises(InvalidAccount, match="does not exist"):
            await accounts.link(ann, ann_there)
        assert (await accounts.add("ann", identity=ann_there)).id != ann.id


@pytest.mark.parametrize(
    ("issuer", "subject"), [("", "1"), ("a", ""), ("a", "\0"), ("a" * 2000, "1")]
)
def test_an_identity_that_no_database_keeps_is_refused(issuer: str, subject: str) -> None:
    with pytest.raises(ValueError, match="Identity needs"):
        Identity(issuer, subject)


async def test_an_id_that_nobody_can_have_finds_no_account(place: Place) -> None:
    """Whatever a client put into a URL."""
    async with opened(place) as accounts:
        for text in ("", "u:\0", "\ud800", "u:" + "0" * 10_000):
            assert await accounts.by_id(text) is None


async def test_accounts_are_found_by_a_list_of_ids(place: Place) -> None:
    """Of any length, with those that are deleted or that nobody can have left out."""
    async with opened(place) as accounts:
        ann, bob = await accounts.add("ann"), await accounts.add("bob")
        others = [f"u:{number}" for number in range(1000)]
        found = await accounts.by_ids({ann.id, *others, "u:\0", bob.id})
        assert found == {ann.id: ann, bob.id: bob}
        assert await accounts.by_ids([]) == {}
