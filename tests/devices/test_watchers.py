"""The live list of devices on the account page."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from app.devices import Devices
from app.devices.user_agents import UserAgent, describe
from tests.support.accounts import account_id
from tests.support.browsers import browser, each_client, joined, session_id
from tests.support.clock import Clock
from tests.support.devices import (
    id_of,
    lists,
    shown,
    watching,
)
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


@pytest.fixture
def no_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build lists after changes only."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 3600)


async def test_a_visitor_may_not_watch(tmp_path: Path) -> None:
    """The namespace refuses with the connect error `unauthorized`."""
    async with serve(tmp_path) as site, browser("official", site.url) as visitor:
        socket: Any = await visitor.socket("websocket", namespaces=("/", "/account"))
        assert socket.errors("/account") == ["unauthorized"]


@each_client
@pytest.mark.usefixtures("no_refresh")
async def test_the_list_follows_every_change(tmp_path: Path, client: str) -> None:
    """Signing in, coming, upgrading, going and ending: each sends the watching page a new list."""
    async with (
        serve(tmp_path) as site,
        browser(client, site.url) as here,
        browser(client, site.url) as there,
    ):
        await here.sign_up("ann")
        watch = await watching(here)
        (own,) = await shown(watch, lambda rows: rows[0]["connections"] == ["websocket"])
        assert own["id"] == id_of(here)
        assert own["current"] is True
        await there.sign_in("ann")
        rows = await shown(watch, lambda rows: len(rows) == 2)
        assert rows[1]["id"] == id_of(there)
        assert rows[1]["current"] is False
        socket = await joined(there, "polling")
        await shown(watch, lambda rows: rows[1]["connections"] == ["polling"])
        await socket.close()
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        await joined(there, "upgraded")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        assert await watch.call("revoke", id_of(there), namespace="/account") is True
        await shown(watch, lambda rows: len(rows) == 1)
        assert await who_is(there) is None
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        # without a connection whose going would tell of it
        await there.post("/logout")
        await shown(watch, lambda rows: len(rows) == 1)


async def test_an_upgrade_changes_the_row(tmp_path: Path) -> None:
    """A listener to connections is called when one changes its transport."""
    async with serve(tmp_path) as site, browser("official", site.url) as ann:
        heard: list[list[str]] = []
        connections = site.services.connections

        def listen(id: str) -> None:
            peers = connections._by_session.get(id, ())
            heard.append([peer.transport for peer in peers])

        connections.on_change.append(listen)
        socket = await joined(ann, "upgraded")
        await socket.close()
        await until(lambda: len(heard) == 3)
        assert heard == [["polling"], ["websocket"], []]


@pytest.mark.usefixtures("no_refresh")
async def test_a_connection_that_opens_while_a_list_is_built_shows(
    site: Site, ann: Visitor, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list that has the device for the first time is followed by one with its connection."""
    await ann.sign_up("ann")
    watch = await watching(ann)
    await shown(watch, lambda rows: rows[0]["connections"] == ["websocket"])
    connected = asyncio.Event()
    building = asyncio.Event()

    async def describe_later(headers: set[str]) -> dict[str, UserAgent]:
        building.set()
        await connected.wait()
        return await describe(headers)

    monkeypatch.setattr("app.devices.devices.describe", describe_later)
    await visitor.sign_in("ann")
    await asyncio.wait_for(building.wait(), 5)
    await joined(visitor, "websocket")
    connected.set()
    rows = await shown(watch, lambda rows: len(rows) == 2 and rows[1]["connections"])
    assert rows[1]["connections"] == ["websocket"]


async def test_the_same_list_is_not_sent_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is built at intervals, and sent if it differs from the last one."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 0.01)
    monkeypatch.setattr("app.devices.watchers._MIN_INTERVAL", 0.01)
    async with serve(tmp_path, clock=Clock()) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        watch = await watching(ann)
        await shown(watch, lambda rows: rows[0]["connections"])
        count = len(lists(watch))
        await asyncio.sleep(0.3)
        assert len(lists(watch)) == count
        await watch.close()


async def test_a_list_for_many_sockets_does_not_block_the_loop(site: Site, ann: Visitor) -> None:
    """Other tasks run between two sockets; a socket that left meanwhile gets no list."""
    await ann.sign_up("ann")
    watchers, session = site.services.device_watchers, session_id(ann.cookie)
    user_id = await account_id(site, "ann")
    sent: list[str] = []
    behind: list[int] = []

    async def send(sid: str, rows: list[Any]) -> None:
        sent.append(sid)
        number = len(sent)
        asyncio.get_running_loop().call_soon(lambda: behind.append(len(sent) - number))
        watchers.unwatch(user_id, "3")

    for number in range(20):
        watchers.watch(user_id, str(number), lambda: session, send)
    await until(lambda: len(behind) == 19)
    assert set(behind) == {0}
    assert "3" not in sent


async def test_a_removed_session_gets_no_list(tmp_path: Path) -> None:
    """Even if its socket is still open."""
    store = WatchedStore()
    async with (
        serve(tmp_path, store=store) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as thief,
        Visitor(site.url) as late,
    ):
        await ann.sign_up("ann")
        await thief.sign_in("ann")
        hers, his = await watching(ann), await watching(thief)
        await shown(his, lambda rows: len(rows) == 2)
        store.lose(session_id(thief.cookie))
        await late.sign_in("ann")
        await shown(hers, lambda rows: id_of(late) in {row["id"] for row in rows})
        await asyncio.sleep(0.1)
        assert id_of(late) not in str(lists(his))
        await hers.close()
        await his.close()


async def who_is(visitor: Visitor) -> str | None:
    """Return the user whom the page names, for both kinds of visitors."""
    found = re.search(r'data-user="([^"]*)"', (await visitor.get("/"))[1])
    return found[1] if found else None


async def test_last_seen_is_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another device does shows after the refresh, and the page itself is no activity."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 0.05)
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=3600) as site,
        Visitor(site.url) as here,
        Visitor(site.url) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        watch = await watching(here)
        began = int(clock.now)
        await shown(watch, lambda rows: len(rows) == 2)
        clock.now += 100
        await there.incr()
        rows = await shown(watch, lambda rows: rows[1]["seen"] == began + 100)
        assert rows[0]["seen"] == began
        await watch.close()


async def test_a_device_that_expires_leaves_the_list(tmp_path: Path) -> None:
    """An idle session's row goes when the server ends it."""
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        Visitor(site.url) as here,
        Visitor(site.url) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        await joined(there, "websocket")
        watch = await watching(here)
        await shown(watch, lambda rows: len(rows) == 2)
        clock.now += 86_000
        await here.incr()
        clock.now += 500
        await shown(watch, lambda rows: len(rows) == 1)
        await watch.close()


async def test_no_list_is_built_without_watchers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Comings and goings of users without an open account page ask the store for nothing."""
    looks: list[str] = []
    latest = Devices.latest

    async def counted(self: Devices, user: str, asking: Any) -> Any:
        looks.append(user)
        return await latest(self, user, asking)

    monkeypatch.setattr(Devices, "latest", counted)
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        watch = await watching(bob)
        user_id = await account_id(site, "bob")
        await until(lambda: looks == [user_id])
        socket = await joined(ann, "websocket")
        await socket.close()
        await ann.post("/logout")
        await asyncio.sleep(0.5)
        assert looks == [user_id]
        await watch.close()
        await until(lambda: not site.services.device_watchers._watches)
        assert not site.services.device_watchers._users


async def test_many_changes_make_few_lists(tmp_path: Path) -> None:
    """Twenty connections that come and go at once are one list or two, not forty."""
    async with serve(tmp_path) as site, Visitor(site.url) as here, Visitor(site.url) as there:
        await here.sign_up("ann")
        await there.sign_in("ann")
        watch = await watching(here)
        await shown(watch, lambda rows: len(rows) == 2)
        before = len(lists(watch))
        sockets = await asyncio.gather(*(there.socket("websocket") for _ in range(20)))
        await asyncio.gather(*(socket.close() for socket in sockets))
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        await asyncio.sleep(0.5)
        assert len(lists(watch)) - before <= 8
        await watch.close()
