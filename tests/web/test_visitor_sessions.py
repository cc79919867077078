"""--new-session-timeout ends a visitor's session if its cookie never comes back."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.sessions.lifetimes import Lifetimes
from app.sessions.timeouts import Timeouts
from app.stores import SessionStore
from tests.support.browsers import PythonVisitor, ended, joined, session_id
from tests.support.clock import Clock
from tests.support.raw import POLLING, Answer, Raw
from tests.support.site import Site, serve
from tests.support.sites import sites
from tests.support.stores import opened, record
from tests.support.visitor import Visitor
from tests.support.waiting import until

IDLE = 86_400


class Street:
    """A site that clients pass by, whose clock the test moves and whose rounds it makes."""

    def __init__(self, site: Site, clock: Clock, visitor: Visitor) -> None:
        self.site = site
        self.clock = clock
        self.visitor = visitor
        self.sessions = site.services.sessions

    async def later(self, seconds: float) -> None:
        """Let time pass as a process does that looks for expired sessions all the time."""
        for _ in range(int(seconds // 100)):
            self.clock.now += 100
            await self.site.services.expiry.run_round()

    async def lives(self, session_id: str) -> bool:
        """Tell whether the store still has this session."""
        return bool(await self.sessions.store.load_many([session_id]))


@contextlib.asynccontextmanager
async def street(tmp_path: Path, store: str = "memory", **settings: Any) -> AsyncIterator[Street]:
    clock = Clock()
    async with (
        serve(tmp_path, store=store, clock=clock, expiry_interval=3600.0, **settings) as site,
        PythonVisitor(site.url) as visitor,
    ):
        yield Street(site, clock, visitor)


async def close(raw: Raw, opening: Answer, *headers: tuple[str, str]) -> None:
    """Close the polling connection that this handshake opened."""
    sid = opening.body.partition('"sid":"')[2].partition('"')[0]
    answer = await raw.ask(f"{POLLING}&sid={sid}", *headers, method="POST", body=b"1")
    assert answer.status == 200


each_store = pytest.mark.parametrize("store", ["memory", "sqlite"])


@each_store
@pytest.mark.attack("A10")
async def test_a_session_whose_cookie_never_comes_back_ends_early(
    tmp_path: Path, store: str
) -> None:
    """Made by a page or by a handshake; it is told as idle."""
    async with street(tmp_path, store) as place:
        heard: list[str] = []
        place.sessions.on_end.append(lambda id, reason, record: heard.append(reason))
        await place.visitor.incr()
        async with Raw(place.site.url) as raw:
            answer = await raw.ask(POLLING)
            await close(raw, answer)
        made = [session_id(place.visitor.cookie), session_id(answer.cookie)]
        await place.later(500)
        assert [await place.lives(id) for id in made] == [True, True]
        await place.later(1200)
        assert [await place.lives(id) for id in made] == [False, False]
        assert heard == ["idle", "idle"]


@each_store
@pytest.mark.parametrize("how", ["page", "handshake", "poll", "websocket"])
async def test_a_cookie_that_comes_back_gives_the_session_its_full_time(
    tmp_path: Path, store: str, how: str
) -> None:
    """With a page, with a handshake of either transport, or with a poll of the first one."""
    async with street(tmp_path, store) as place, Raw(place.site.url) as raw:
        answer = await raw.ask(POLLING)
        cookie, shown = answer.cookie, ("Cookie", answer.cookie)
        place.clock.now += 1
        if how == "page":
            assert (await raw.ask("/", shown)).status == 200
            await close(raw, answer)
        elif how == "handshake":
            await close(raw, await raw.ask(POLLING, shown), shown)
            await close(raw, answer)
        elif how == "websocket":
            async with Raw(place.site.url) as other:
                assert (await other.websocket(shown)).status == 101
            await close(raw, answer)
        else:
            await close(raw, answer, shown)
        await until(lambda: not len(place.site.services.connections))
        await place.later(IDLE - 1000)
        assert await place.lives(session_id(cookie))
        await place.later(2000)
        assert not await place.lives(session_id(cookie))


@each_store
async def test_a_user_who_signs_in_has_the_full_time(tmp_path: Path, store: str) -> None:
    """Though the new cookie has not come back yet."""
    async with street(tmp_path, store) as place:
        await place.visitor.sign_up("ann")
        await place.later(IDLE - 1000)
        assert await place.lives(session_id(place.visitor.cookie))


@each_store
@pytest.mark.parametrize("mode", ["websocket", "polling"])
async def test_a_client_without_cookies_keeps_its_session_while_it_is_connected(
    tmp_path: Path, store: str, mode: str
) -> None:
    """However quiet it is; the session ends as any idle one, or a while after the connection."""
    async with street(tmp_path, store) as place:
        place.visitor.jar.update_cookies = lambda *_, **__: None  # type: ignore[method-assign]
        socket = await joined(place.visitor, mode)
        (id,) = place.site.services.connections.session_ids()
        assert await socket.call("incr") == 1
        await place.later(5000)
        assert await socket.call("incr") == 2
        await place.later(5000)
        assert ended(socket) == []
        assert await place.lives(id)
        await socket.close()
        await until(lambda: not place.site.services.connections.count(id))
        await place.later(1300)
        assert not await place.lives(id)


async def test_a_quiet_client_without_cookies_ends_as_idle(tmp_path: Path) -> None:
    """Its connection does not prolong the idle timeout."""
    async with street(tmp_path) as place:
        place.visitor.jar.update_cookies = lambda *_, **__: None  # type: ignore[method-assign]
        socket = await joined(place.visitor, "websocket")
        await place.later(IDLE + 200)
        await until(lambda: ended(socket) == [{"reason": "idle", "reconnect": True}])


async def test_a_process_that_was_suspended_ends_no_connected_session(tmp_path: Path) -> None:
    """Requests of its clients count as activity after it resumes."""
    async with street(tmp_path) as place:
        socket = await joined(place.visitor, "websocket")
        place.clock.now += 5000
        assert await socket.call("incr") == 1
        assert ended(socket) == []


async def test_a_connection_counts_in_all_processes(tmp_path: Path) -> None:
    """Another process does not end the session."""
    clock = Clock()
    async with (
        sites(tmp_path, clock=clock, expiry_interval=3600.0) as (one, two),
        PythonVisitor(one.url) as visitor,
    ):
        visitor.jar.update_cookies = lambda *_, **__: None  # type: ignore[method-assign]
        socket = await joined(visitor, "websocket")
        (id,) = one.services.connections.session_ids()
        for _ in range(30):
            clock.now += 100
            await one.services.expiry.run_round()
            await two.services.expiry.run_round()
        assert await socket.call("incr") == 1
        assert ended(socket) == []
        await socket.close()
        await until(lambda: not one.services.connections.count(id))
        for _ in range(13):
            clock.now += 100
            await two.services.expiry.run_round()
        assert await two.services.sessions.store.load(id) is None


async def test_a_cookie_seen_by_one_process_counts_for_all(tmp_path: Path) -> None:
    """An event at another process, which knows the session as new, does not shorten it."""
    clock = Clock()
    async with (
        sites(tmp_path, clock=clock, expiry_interval=3600.0) as (one, two),
        Raw(one.url) as first,
    ):
        opening = await first.websocket()
        first.send("40")
        assert str(await first.receive()).startswith("0")
        assert str(await first.receive()).startswith("40")
        id = session_id(opening.cookie)
        clock.now += 1
        async with Raw(two.url) as second:
            assert (await second.ask("/", ("Cookie", opening.cookie))).status == 200
        await until(lambda: _expires(two, id, clock.now + IDLE - 5))
        clock.now += 1
        first.send('421["incr"]')
        assert await first.receive() == "431[1]"
        await one.services.sessions.lifetimes.activity.flush(force=True)
        assert await _expires(one, id, clock.now + IDLE - 5)


async def _expires(site: Site, id: str, after: float) -> bool:
    record = await site.services.sessions.store.load(id)
    return record is not None and record.expires > after


async def test_sessions_of_an_older_release_keep_their_time(tmp_path: Path) -> None:
    """A session that was stored with the full time keeps it, though it was never seen again."""
    async with opened("memory", tmp_path) as store:
        clock = Clock()
        old = _lifetimes(store, clock, new_timeout=0)
        now = clock()
        kept = record("a", created=now, seen=now, expires=old.timeouts.expires(now, now))
        await store.save(kept)
        young = _lifetimes(store, clock, new_timeout=600)
        assert not young.timeouts.is_new(kept)
        clock.now += 5000
        assert young.limit_reached(kept) is None
        assert young.deadline(kept) == now + IDLE


def _lifetimes(store: SessionStore, clock: Clock, new_timeout: float) -> Lifetimes:
    timeouts = Timeouts.of(idle=IDLE, max_age=30 * IDLE, new=new_timeout)
    return Lifetimes(store, timeouts, clock=clock, connected=lambda session_id: False)


async def test_0_gives_new_sessions_the_usual_timeout(tmp_path: Path) -> None:
    """The setting can be switched off."""
    async with street(tmp_path, new_session_timeout=0) as place:
        await place.visitor.incr()
        await place.later(IDLE - 1000)
        assert await place.lives(session_id(place.visitor.cookie))
