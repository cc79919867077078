"""What an operator does with accounts and sessions, whoever asks for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.accounts import NameTaken, accounts_table
from app.operator import COMMAND_LINE, Actor
from app.stores import StoreUnavailable, public_id
from tests.support.demo.session import BaseHandler
from tests.support.fork import fork
from tests.support.forms import PASSWORD, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

BOSS = Actor(name="Boss", id="u:boss", address="10.0.0.9")


async def the(site: Site, name: str) -> Any:
    """Return the account with this name."""
    account = await site.services.operator.find(name)
    assert account is not None
    return account


async def events(site: Site, account_id: str) -> list[tuple[str, str, str]]:
    """Return event, actor and reason of the stored trail of an account, the latest first."""
    found = await site.services.audit_trail.of(account_id)
    return [(event.event, event.actor, event.reason) for event in found]


class NameHandler(BaseHandler):
    """Signs in without a password, as a fork's method may."""

    async def post(self) -> None:
        account = await self.services.accounts.by_name("ann")
        assert account is not None
        await self.services.sign_in(self, account, method="fork")


class RegenerateHandler(BaseHandler):
    """Gives the session a new id."""

    async def post(self) -> None:
        self.write({"stays": await self.regenerate()})


ROUTES = [(r"/name", NameHandler), (r"/regenerate", RegenerateHandler)]


@pytest.mark.asvs("7.4.2", "7.4.5")
async def test_a_disabled_account_is_out_and_stays_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sessions and sockets end; no way of signing in is open, until it is enabled."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as two,
    ):
        await ann.sign_up("ann")
        await two.sign_in("ann")
        account, operator = await the(site, "ANN"), site.services.operator
        socket = await ann.socket("websocket")
        assert await operator.disable(account, BOSS) == 2
        assert await socket.ended() == "revoked"
        assert (await who(ann), await who(two)) == (None, None)
        answer = await send(ann, "json", "/login", username="ann", password=PASSWORD)
        assert (answer.status, "disabled" in answer.error) == (403, True)
        assert (await ann.post("/name")).status == 403
        assert (await the(site, "ann")).disabled is not None
        assert await operator.enable(await the(site, "ann"), BOSS)
        assert not await operator.enable(await the(site, "ann"), BOSS)
        await ann.sign_in("ann")
        assert [e for e in await events(site, account.id) if e[0].endswith("able")] == [
            ("enable", "Boss", ""),
            ("disable", "Boss", "2 sessions"),
        ]


async def test_a_session_that_is_regenerated_meanwhile_ends_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new id comes of it: the form leads to the sign-in."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        account, stored, go_on = await the(site, "ann"), asyncio.Event(), asyncio.Event()
        sign_in = site.services.sessions.sign_in

        async def late(*options: Any, **more: Any) -> Any:
            stored.set()
            await go_on.wait()
            return await sign_in(*options, **more)

        monkeypatch.setattr(site.services.sessions, "sign_in", late)
        answering = asyncio.ensure_future(ann.post("/regenerate"))
        await stored.wait()
        await site.services.operator.disable(account, BOSS)
        go_on.set()
        assert (await answering).status == 303
        assert await site.services.sessions.store.of_user(account.id) == []
        assert await who(ann) is None


@pytest.mark.parametrize("path", ["/login", "/name"])
async def test_a_sign_in_under_way_does_not_outlive_the_disabling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It had passed the first check when the account was disabled and its sessions ended."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await site.services.accounts.register("ann", PASSWORD)
        account, waits, go_on = await the(site, "ann"), asyncio.Event(), asyncio.Event()
        create = site.services.sessions.create

        async def late(**options: Any) -> Any:
            waits.set()
            await go_on.wait()
            return await create(**options)

        monkeypatch.setattr(site.services.sessions, "create", late)
        answering = asyncio.ensure_future(
            send(ann, "json", path, username="ann", password=PASSWORD)
        )
        await waits.wait()
        await site.services.operator.disable(account, BOSS)
        go_on.set()
        assert (await answering).status == 403
        assert await site.services.sessions.store.of_user(account.id) == []


async def test_nothing_is_disabled_if_its_sessions_could_not_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session store is asked first; one that fails later is named, and it may be repeated."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        account, store = await the(site, "ann"), site.services.sessions.store

        async def fails(*_: object) -> Any:
            raise StoreUnavailable("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(store, "ping", fails)
            with pytest.raises(StoreUnavailable):
                await site.services.operator.disable(account, BOSS)
            assert (await the(site, "ann")).disabled is None
        with monkeypatch.context() as patch:
            patch.setattr(store, "of_user", fails)
            with pytest.raises(StoreUnavailable, match="ann is disabled, but the session store"):
                await site.services.operator.disable(account, BOSS)
            assert (await the(site, "ann")).disabled is not None
        assert await site.services.operator.disable(account, BOSS) == 1


async def test_a_renamed_account_signs_in_by_its_new_name(site: Site, ann: Visitor) -> None:
    """Its id stays; its sessions, which show the old name, are ended."""
    await ann.sign_up("ann")
    operator, account = site.services.operator, await the(site, "ann")
    renamed = await operator.rename(account, "Anna", COMMAND_LINE)
    assert (renamed.id, renamed.name) == (account.id, "Anna")
    assert await who(ann) is None
    answer = await send(ann, "json", "/login", username="ann", password=PASSWORD)
    assert answer.status == 401
    await ann.sign_in("anna")
    assert await who(ann) == "Anna"
    assert ("rename", "command line", "from ann") in await events(site, account.id)


@pytest.mark.parametrize("name", ["Bob", "b0b ", "bоb", "a:b", ""])
async def test_an_account_gets_no_name_that_it_could_not_have_registered(
    site: Site, ann: Visitor, name: str
) -> None:
    """A taken one, one that looks like it, one with spaces, one of another issuer."""
    await ann.sign_up("ann")
    await site.services.accounts.register("bob", PASSWORD)
    with pytest.raises(ValueError, match="name"):
        await site.services.operator.rename(await the(site, "ann"), name, BOSS)
    assert await who(ann) == "ann"


async def test_an_account_may_get_another_spelling_of_its_name(site: Site, ann: Visitor) -> None:
    """Which looks like its own name."""
    await ann.sign_up("ann")
    assert (await site.services.operator.rename(await the(site, "ann"), "ANN", BOSS)).name == "ANN"
    with pytest.raises(NameTaken):
        await site.services.accounts.register("Ann", PASSWORD)


async def test_a_sign_in_under_way_does_not_keep_the_old_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was stored with the old name ends."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await site.services.accounts.register("ann", PASSWORD)
        account, waits, go_on = await the(site, "ann"), asyncio.Event(), asyncio.Event()
        create = site.services.sessions.create

        async def late(**options: Any) -> Any:
            waits.set()
            await go_on.wait()
            return await create(**options)

        monkeypatch.setattr(site.services.sessions, "create", late)
        answering = asyncio.ensure_future(ann.post("/name"))
        await waits.wait()
        await site.services.operator.rename(account, "anna", BOSS)
        go_on.set()
        await answering
        assert await who(ann) is None


@pytest.mark.asvs("7.4.2")
async def test_a_deleted_account_leaves_no_session(site: Site, ann: Visitor) -> None:
    """Nor can it be deleted twice; the trail keeps who did it."""
    await ann.sign_up("ann")
    account = await the(site, "ann")
    assert await site.services.operator.delete(account, BOSS)
    assert not await site.services.operator.delete(account, BOSS)
    assert await who(ann) is None
    assert await site.services.operator.find("ann") is None
    assert ("deletion", "Boss", "") in await events(site, account.id)


@pytest.mark.asvs("7.4.5")
async def test_an_operator_ends_one_session_or_all(site: Site, ann: Visitor) -> None:
    """Named by the public id; that of another user is unknown."""
    async with Visitor(site.url) as two:
        await ann.sign_up("ann")
        await two.sign_in("ann")
        operator, account = site.services.operator, await the(site, "ann")
        here = (await operator.sessions(account.id))[0]
        assert not await operator.end_session("u:other", here.id, BOSS)
        assert await operator.end_session(account.id, here.id, BOSS)
        assert not await operator.end_session(account.id, here.id, BOSS)
        assert [await who(ann), await who(two)].count(None) == 1
        assert await operator.end_user(account, BOSS) == 1
        assert (await who(ann), await who(two)) == (None, None)
        ends = [found for found in await events(site, account.id) if found[0] == "session end"]
        assert ends == [("session end", "Boss", "1 session")] * 2


async def test_a_session_is_shown_without_what_enters_it(site: Site, ann: Visitor) -> None:
    """The id is the public one; address, browser, times and connections are there."""
    await ann.sign_up("ann")
    await ann.socket("websocket")
    account = await the(site, "ann")
    (row,) = await site.services.operator.sessions(account.id)
    assert (row.user, row.address, row.method) == ("ann", "127.0.0.1", "password")
    assert row.connections == ["websocket"]
    assert len(row.id) == 32


async def test_the_export_has_account_sessions_and_audit(site: Site, ann: Visitor) -> None:
    """As JSON has it, without password hashes and session ids."""
    await ann.sign_up("ann")
    exported = await site.services.operator.export(await the(site, "ann"))
    assert set(exported) == {"account", "sign_in", "sessions", "audit"}
    assert exported["sign_in"] == {"two_step": False, "recovery_codes_left": 0}
    assert exported["account"]["name"] == "ann"
    assert [event["event"] for event in exported["audit"]] == ["sign-in", "registration"]
    assert len(exported["sessions"]) == 1


async def test_a_change_of_roles_is_in_the_trail(site: Site, ann: Visitor) -> None:
    """What was added and removed; nothing if nothing changed."""
    await ann.sign_up("ann")
    account, operator = await the(site, "ann"), site.services.operator
    assert await operator.set_roles(account, BOSS, add=["moderator", "admin"]) == {
        "moderator",
        "admin",
    }
    assert await operator.set_roles(account, BOSS, add=["admin"], remove=["moderator"]) == {"admin"}
    assert await operator.set_roles(account, BOSS, add=["admin"]) == {"admin"}
    assert [found for found in await events(site, account.id) if found[0] == "role change"] == [
        ("role change", "Boss", "-moderator"),
        ("role change", "Boss", "+admin +moderator"),
    ]


async def test_sessions_of_a_user_are_listed_the_last_seen_first(tmp_path: Path) -> None:
    """Also by activity that is not written yet."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as later:
        await ann.sign_up("ann")
        await later.sign_in("ann")
        services, user_id = site.services, (await the(site, "ann")).id
        await services.sessions.lifetimes.activity.flush(force=True)

        async def listed() -> list[str]:
            rows = await services.operator.sessions(user_id)
            sessions = await services.sessions.of_user(user_id)
            assert [row.id for row in rows] == [public_id(session.id) for session in sessions]
            return [row.id for row in rows]

        before = await listed()
        await ann.get("/account")
        assert await listed() == before[::-1]


async def test_all_sessions_are_listed_the_last_seen_first(tmp_path: Path) -> None:
    """Visitors too; the number of all is told beside a short list."""
    async with (
        serve(tmp_path) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as bob,
        Visitor(site.url) as visitor,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        await visitor.incr()
        operator = site.services.operator
        rows, total = await operator.session_list.latest(2)
        assert ([row.user for row in rows], total) == ([None, "bob"], 3)
        found = await operator.session_list.find(rows[1].id[:8])
        assert found.user == "bob"
        assert await operator.session_list.find("0" * 32) is None
        assert await operator.session_list.latest(10, seen_before=1.0) == ([], 0)
        stats = await operator.stats.read()
        assert {name: stats[name] for name in ("sessions", "visitors", "users", "accounts")} == {
            "sessions": 3,
            "visitors": 1,
            "users": 2,
            "accounts": 2,
        }
        assert stats["sign_ins"] == {"hour": 2, "day": 2}
        assert stats["processes"] == [{"number": 0, "connections": 0}]


async def test_all_sessions_are_ended_in_batches(site: Site, ann: Visitor) -> None:
    """Until none is left."""
    async with Visitor(site.url) as bob, Visitor(site.url) as visitor:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        await visitor.incr()
        operator = site.services.operator
        assert await operator.end_many(BOSS, seen_before=1.0) == 0
        assert [await operator.end_many(BOSS, limit=2) for _ in range(3)] == [2, 1, 0]
        assert (await who(ann), await who(bob)) == (None, None)


async def test_orphaned_sessions_end_with_their_sockets(site: Site, ann: Visitor) -> None:
    """As after a restore of the database under a running site; all others stay."""
    async with Visitor(site.url) as bob, Visitor(site.url) as visitor:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        await visitor.incr()
        sockets = [await each.socket("websocket") for each in (ann, bob, visitor)]
        await site.services.database.run(
            lambda connection: connection.execute(
                sa.delete(accounts_table).where(accounts_table.c.name == "bob")
            )
        )
        assert await site.services.operator.end_many(BOSS, orphaned=True) == 1
        await sockets[1].ended()
        assert [socket.client.connected for socket in sockets] == [True, False, True]
        assert await who(bob) is None
        assert await who(ann) == "ann"
        assert await site.services.operator.end_many(BOSS, orphaned=True) == 0
