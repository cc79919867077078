"""--max-sessions-per-user: a sign-in beyond it ends the least recently seen session."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import account_id
from tests.support.browsers import PythonVisitor, ended, joined, session_id
from tests.support.clock import Clock
from tests.support.fork import fork
from tests.support.postgres import Postgres
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

REVOKED = [{"reason": "revoked", "reconnect": True}]


async def signed_in(stack: contextlib.AsyncExitStack, site: Site, name: str = "ann") -> Visitor:
    """Return a new browser in which this user is signed in."""
    visitor = await stack.enter_async_context(PythonVisitor(site.url))
    await visitor.sign_in(name)
    return visitor


async def user_of(visitor: Visitor) -> Any:
    socket = await joined(visitor, "websocket")
    try:
        return await socket.call("whoami")
    finally:
        await socket.close()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_sign_in_beyond_the_limit_ends_the_session_that_was_seen_first(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its sockets are closed, hooks run and the audit log says so; the others stay."""
    caplog.set_level(logging.INFO, "latchkey.audit")
    heard: list[tuple[str | None, str]] = []
    modules = fork(
        monkeypatch, on_session_end=lambda session, reason: heard.append((session.user, reason))
    )
    clock = Clock()
    async with (
        serve(tmp_path, store=store, modules=modules, clock=clock, max_sessions_per_user=2) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        for name in ("ann", "bob"):
            await site.services.accounts.register(name, "correct horse battery")
        first = await signed_in(stack, site)
        clock.now += 1
        second = await signed_in(stack, site)
        other = await signed_in(stack, site, "bob")
        socket, stays = await joined(second, "polling"), await joined(first, "websocket")
        clock.now += 1
        await first.get("/account")  # so that the second one was seen longer ago
        clock.now += 1
        third = await signed_in(stack, site)
        await until(lambda: ended(socket) == REVOKED)
        assert heard == [("ann", "revoked")]
        assert ended(stays) == []
        assert [await user_of(one) for one in (first, second, third, other)] == [
            *("ann", None, "ann", "bob"),
        ]
        user_id = await account_id(site, "ann")
        ends = [line for line in caplog.messages if line.startswith("end ")]
        assert ends == [f"end user='ann' address='127.0.0.1' reason='revoked' user_id={user_id!r}"]


async def test_sign_ins_at_once_leave_as_many_as_may_be(tmp_path: Path) -> None:
    """None of the last ones, and no more and no fewer than the limit."""
    store = WatchedStore(save_takes=0.005)
    async with (
        serve(tmp_path, store=store, max_sessions_per_user=3) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        await site.services.accounts.register("ann", "correct horse battery")
        await asyncio.gather(*(signed_in(stack, site) for _ in range(12)))
        assert len(await store.of_user(await account_id(site, "ann"))) == 3


async def test_the_session_that_signs_in_stays_whatever_the_clocks_say(tmp_path: Path) -> None:
    """Another process, whose clock is ahead, may have seen all others later."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, max_sessions_per_user=1) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        await site.services.accounts.register("ann", "correct horse battery")
        await signed_in(stack, site)
        clock.now -= 3
        late = await signed_in(stack, site)
        (record,) = await site.services.sessions.store.of_user(await account_id(site, "ann"))
        assert record.id == session_id(late.cookie)


async def test_a_refused_sign_in_ends_no_session(tmp_path: Path) -> None:
    """The limit is applied when the sign-in is certain."""
    async with (
        serve(tmp_path, max_sessions_per_user=1) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        await site.services.accounts.register("ann", "correct horse battery")
        first = await signed_in(stack, site)
        late = await stack.enter_async_context(PythonVisitor(site.url))
        wrong = {"username": "ann", "password": "wrong wrong wrong"}
        assert (await late.post("/login", json=wrong))[0] == 401
        assert await user_of(first) == "ann"


async def test_many_sessions_of_an_older_release_are_ended_at_the_next_sign_in(
    tmp_path: Path,
) -> None:
    """In batches, each with its hooks; without a limit they stay."""
    async with (
        serve(tmp_path, max_sessions_per_user=5) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        sessions, heard = site.services.sessions, []
        sessions.on_end.append(lambda id, reason, record: heard.append(id))
        await site.services.accounts.register("ann", "correct horse battery")
        user_id = await account_id(site, "ann")
        made = [
            (
                await sessions.create(
                    remote_address="", user_agent="", user_id=user_id, user_name="ann"
                )
            ).id
            for _ in range(350)
        ]
        await signed_in(stack, site)
        assert await sessions.store.count(user_id) == 5
        assert len(heard) == len(set(heard)) == 346
        assert set(heard) <= set(made)


async def test_the_limit_holds_for_all_processes(tmp_path: Path, postgres: Postgres) -> None:
    """A sign-in at one ends a session at another, whose socket is closed there."""
    database = postgres.url(postgres.database())
    async with (
        sites(tmp_path, max_sessions_per_user=2, database=database) as (one, two),
        contextlib.AsyncExitStack() as stack,
    ):
        await one.services.accounts.register("ann", "correct horse battery")
        first = await signed_in(stack, one)
        socket = await joined(first, "websocket")
        await asyncio.gather(*(signed_in(stack, site) for site in (two, one, two, one)))
        await until(lambda: ended(socket) == REVOKED)
        assert await one.services.sessions.store.count(await account_id(one, "ann")) == 2


async def test_without_a_limit_all_stay(tmp_path: Path) -> None:
    """0 switches it off."""
    async with (
        serve(tmp_path, max_sessions_per_user=0) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        await site.services.accounts.register("ann", "correct horse battery")
        for _ in range(4):
            await signed_in(stack, site)
        assert await site.services.sessions.store.count(await account_id(site, "ann")) == 4
