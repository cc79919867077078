"""The roles of accounts, on both databases."""

from __future__ import annotations

import asyncio

import pytest

from app.accounts import (
    Accounts,
    AccountsUnavailable,
    InvalidAccount,
    InvalidRole,
    Roles,
    UnknownAccount,
    role_memory,
)
from tests.support.accounts import opened
from tests.support.postgres import Place

NOTHING: frozenset[str] = frozenset()


async def add(accounts: Accounts, name: str) -> str:
    return (await accounts.add(name)).id


async def test_roles_are_given_and_taken(place: Place) -> None:
    """A second call of the same changes nothing, and raises nothing."""
    async with opened(place) as accounts:
        roles, ann = Roles(accounts), await add(accounts, "ann")
        assert await roles.of(ann) == NOTHING
        for _ in range(2):
            assert await roles.set(ann, add=["admin", "moderator"]) == {"admin", "moderator"}
        assert await roles.of(ann) == {"admin", "moderator"}
        for _ in range(2):
            assert await roles.set(ann, add=["editor"], remove=["admin"]) == {"moderator", "editor"}
        assert await roles.of(ann) == {"moderator", "editor"}


async def test_an_account_is_read_with_its_roles(place: Place) -> None:
    """However it is found, and by its password too."""
    async with opened(place) as accounts:
        roles, bob = Roles(accounts), await add(accounts, "bob")
        ann = (await accounts.create("ann", "a password of 15")).account
        assert ann is not None
        assert ann.roles == NOTHING
        await roles.set(ann.id, add=["admin", "moderator"])
        both = await accounts.by_ids([ann.id, bob])
        proof = await accounts.prove("ann", "a password of 15")
        for found in (
            await accounts.by_id(ann.id),
            await accounts.by_name("ANN"),
            both[ann.id],
            proof.account,
        ):
            assert found is not None
            assert found.roles == {"admin", "moderator"}
        assert both[bob].roles == NOTHING


async def test_roles_of_many_are_read_at_once(place: Place) -> None:
    async with opened(place) as accounts:
        roles = Roles(accounts)
        ann, bob = await add(accounts, "ann"), await add(accounts, "bob")
        await roles.set(ann, add=["admin"])
        wanted = [ann, bob, *(f"u:{number}" for number in range(600)), "no\0id"]
        found = await roles.of_many(wanted)
        assert found[ann] == {"admin"}
        assert found[bob] == found["u:599"] == NOTHING
        assert len(found) == 602
        assert await roles.of_many([]) == {}


async def test_accounts_with_a_role_come_by_name_in_pages(place: Place) -> None:
    async with opened(place) as accounts:
        roles = Roles(accounts)
        for name in ("Cleo", "ann", "bob", "dora"):
            account_id = await add(accounts, name)
            if name != "bob":
                await roles.set(account_id, add=["moderator", "editor"])
        first = await roles.accounts_with("moderator", limit=2)
        assert [account.name for account in first] == ["ann", "Cleo"]
        assert first[0].roles == {"moderator", "editor"}
        rest = await roles.accounts_with("moderator", limit=2, after="Cleo")
        assert [account.name for account in rest] == ["dora"]
        assert await roles.accounts_with("admin") == []


@pytest.mark.parametrize("role", ["", "Admin", "two words", "-x", "a" * 65, "rôle", "a\n"])
async def test_a_name_that_is_no_role_is_refused(place: Place, role: str) -> None:
    """Before anything is changed."""
    async with opened(place) as accounts:
        roles, ann = Roles(accounts), await add(accounts, "ann")
        for add_these, remove_these in ((["admin", role], []), (["admin"], [role])):
            with pytest.raises(InvalidRole, match="is no name of a role"):
                await roles.set(ann, add=add_these, remove=remove_these)
        assert await roles.of(ann) == NOTHING
        assert await roles.set(ann, add=["a" * 64, "0-_"]) == {"a" * 64, "0-_"}


async def test_a_change_that_makes_no_sense_is_refused(place: Place) -> None:
    async with opened(place) as accounts:
        roles, ann = Roles(accounts), await add(accounts, "ann")
        with pytest.raises(InvalidAccount, match="admin cannot be added and removed at once"):
            await roles.set(ann, add=["admin"], remove=["admin"])
        with pytest.raises(TypeError, match="a collection of roles"):
            await roles.set(ann, add="admin")


async def test_roles_go_with_their_account(place: Place) -> None:
    """What has no account has no roles, and cannot get any."""
    async with opened(place) as accounts:
        roles = Roles(accounts)
        ann = await accounts.add("ann")
        await roles.set(ann.id, add=["admin"])
        await accounts.remove(ann)
        assert await roles.of(ann.id) == NOTHING
        assert await roles.of("no\0id") == NOTHING
        with pytest.raises(UnknownAccount, match="This account does not exist"):
            await roles.set(ann.id, add=["admin"])
        assert await roles.accounts_with("admin") == []


async def test_changes_at_once_are_all_kept(place: Place) -> None:
    """Each is one transaction, and the account's row is locked meanwhile."""
    async with opened(place) as accounts:
        roles, ann = Roles(accounts), await add(accounts, "ann")
        names = [f"role-{number}" for number in range(8)]
        changes = (roles.set(ann, add=["editor", name]) for name in names)
        results = await asyncio.gather(*changes)
        assert await roles.of(ann) == {"editor", *names}
        assert max(map(len, results)) == 9


async def test_only_a_change_is_told(place: Place) -> None:
    """Other processes and open sockets hear of it."""
    async with opened(place) as accounts:
        roles, ann, told = Roles(accounts), await add(accounts, "ann"), list[str]()
        accounts.on_changed.append(told.append)
        await roles.set(ann, add=["admin"])
        await roles.set(ann, add=["admin"], remove=["moderator"])
        assert told == [ann]
        await roles.set(ann, remove=["admin"])
        assert told == [ann, ann]


# -- what is remembered for events --


class Readings:
    """Counts the readings of roles, which are answered when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[asyncio.Future[frozenset[str]]] = []

    async def read(self, account_id: str) -> frozenset[str]:
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]

    async def ask(self, memory: role_memory.RoleMemory) -> asyncio.Task[frozenset[str]]:
        task = asyncio.create_task(memory.of("ann"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


async def test_many_events_share_a_reading() -> None:
    readings = Readings()
    memory = role_memory.RoleMemory(readings.read)
    asked = [await readings.ask(memory) for _ in range(3)]
    readings.waiting[0].set_result(frozenset({"admin"}))
    assert await asyncio.gather(*asked) == [{"admin"}] * 3
    assert await memory.of("ann") == {"admin"}
    assert len(readings.waiting) == 1


async def test_a_change_during_a_reading_is_not_missed() -> None:
    """What was read before the change is not remembered after it."""
    readings = Readings()
    memory = role_memory.RoleMemory(readings.read)
    early = await readings.ask(memory)
    memory.forget("ann")
    late = await readings.ask(memory)
    readings.waiting[1].set_result(NOTHING)
    readings.waiting[0].set_result(frozenset({"admin"}))
    assert await early == {"admin"}
    assert await late == NOTHING
    assert await memory.of("ann") == NOTHING


async def test_memory_ends_a_second_after_the_reading_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings, now = Readings(), 100.0
    memory = role_memory.RoleMemory(readings.read)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
    asked = await readings.ask(memory)
    now = 100.9
    readings.waiting[0].set_result(frozenset({"admin"}))
    assert await asked == {"admin"}
    assert await memory.of("ann") == {"admin"}
    now = 101.0
    asked = await readings.ask(memory)
    readings.waiting[1].set_result(NOTHING)
    assert await asked == NOTHING


async def test_a_failed_reading_is_not_remembered() -> None:
    readings = Readings()
    memory = role_memory.RoleMemory(readings.read)
    asked = [await readings.ask(memory) for _ in range(2)]
    readings.waiting[0].set_exception(AccountsUnavailable("no answer"))
    for task in asked:
        with pytest.raises(AccountsUnavailable):
            await task
    again = await readings.ask(memory)
    readings.waiting[1].set_result(frozenset({"admin"}))
    assert await again == {"admin"}


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest reading goes."""
    monkeypatch.setattr(role_memory, "_MAX_ACCOUNTS", 2)
    asked: list[str] = []

    async def read(account_id: str) -> frozenset[str]:
        asked.append(account_id)
        return NOTHING

    memory = role_memory.RoleMemory(read)
    for name in ("ann", "bob", "cleo", "cleo", "bob", "ann"):
        await memory.of(name)
    assert asked == ["ann", "bob", "cleo", "ann"]
    assert len(memory._readings) == 2
