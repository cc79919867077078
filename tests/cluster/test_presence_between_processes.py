"""Which process has which connections, and the lists of devices that show them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from app.cluster import presence
from tests.support.browsers import PythonVisitor, ended, joined, session_id
from tests.support.devices import id_of, revoke, shown, watching
from tests.support.redis_server import empty_redis, shared_server
from tests.support.site import Site, serve
from tests.support.sites import KEYS, sites, tabs_at
from tests.support.users import user_id
from tests.support.waiting import until


async def connected(site: Site, id: str, wanted: Sequence[str]) -> bool:
    """Whether this process knows these transports of a session, in all processes."""
    found = await site.services.devices.presence.transports([id])
    return sorted(found.get(id, ())) == sorted(wanted)


async def test_every_process_knows_the_connections_of_all(tmp_path: Path) -> None:
    """With their transports, as they come, are upgraded and go."""
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        await visitor.incr()
        id = session_id(visitor.cookie)

        async def shows(site: Site, *wanted: str) -> None:
            await until(lambda: connected(site, id, wanted))

        (first,) = await tabs_at(visitor, one, mode="polling")
        (second,) = await tabs_at(visitor, two)
        await shows(one, "polling", "websocket")
        await shows(two, "polling", "websocket")
        (third,) = await tabs_at(visitor, two, mode="upgraded")
        await shows(one, "polling", "websocket", "websocket")
        for tab in (first, second, third):
            await tab.close()
        await until(lambda: not len(one.services.connections) + len(two.services.connections))
        await shows(one)
        assert await one.services.devices.presence.transports([id, "nobody"]) == {}


async def test_the_list_of_devices_has_connections_of_all_processes(tmp_path: Path) -> None:
    """Each process shows its users what they have open at the other one, and can end it there."""
    async with (
        sites(tmp_path) as (one, two),
        PythonVisitor(one.url) as visitor,
        PythonVisitor(two.url) as other,
    ):
        await visitor.sign_up("ada")
        ada = await user_id(one, visitor)
        session = await two.services.sessions.sign_in(
            two.services.sessions.visitor(remote_address="::1", user_agent=""),
            ada,
            remote_address="::1",
            user_agent="",
        )
        cookie = two.app.web.settings["web"].session_cookie.set(
            session.id, secure=False, max_age=1000
        )
        other.jar.update_cookies(SimpleCookie(cookie))
        (here,) = await tabs_at(visitor, one)
        (there,) = await tabs_at(other, two)
        await until(lambda: connected(one, session.id, ["websocket"]))
        rows = await one.services.devices.rows(ada, [])
        assert [row.connections for row in rows.values()] == [["websocket"], ["websocket"]]
        assert await one.services.devices.revoke_others(ada, session_id(visitor.cookie)) == 1
        await until(lambda: ended(there) == [{"reason": "revoked", "reconnect": True}])
        assert ended(here) == []


async def test_connections_of_a_dead_process_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis forgets its list after the timeout; the lists of running processes stay."""
    monkeypatch.setattr(presence, "_PRESENCE_TIMEOUT", 2)
    monkeypatch.setattr(presence, "_HEARTBEAT_INTERVAL", 0.5)
    url = empty_redis()
    async with sites(tmp_path / "a", url=url) as (one, two), PythonVisitor(one.url) as visitor:
        await visitor.incr()
        id = session_id(visitor.cookie)
        await tabs_at(visitor, one, two)
        await until(lambda: connected(one, id, ["websocket"] * 2))
        # what a dead process does: it stops to tell that it is alive
        await two.services.devices.presence._background.stop()
        await asyncio.sleep(3)  # more than a life, in which the living have to tell that they are
        assert await connected(one, id, ["websocket"])
        assert await connected(two, id, ["websocket"] * 2)
        with shared_server().client() as redis:
            assert redis.scard("latchkey:processes") == 1


async def test_a_process_that_stops_leaves_nothing_behind(tmp_path: Path) -> None:
    """After the last session only rates are left, and the next run of the job of the audit trail.

    Redis removes rates within a minute. They outlive a process on purpose: one that restarts must
    not forget the attempts that were made a moment ago.
    """
    async with sites(tmp_path) as (one, two), PythonVisitor(one.url) as visitor:
        await tabs_at(visitor, one, two)
        id = session_id(visitor.cookie)
        for site in (one, two):
            await until(lambda site=site: connected(site, id, ["websocket"] * 2))
        assert (await visitor.post("/logout"))[0] == 204
    with shared_server().client() as redis:
        left = set(redis.keys("latchkey:*"))
        rates = set(redis.keys("latchkey:rate:*"))
        assert left == rates | {b"latchkey:job:latchkey.audit_trail"}
        assert all(0 < redis.ttl(key) <= 60 for key in rates)


async def test_a_list_of_devices_follows_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signing in, coming, going and ending at one process shows on a page that another serves."""
    monkeypatch.setattr("app.devices.watchers._REFRESH_INTERVAL", 3600)
    shared: dict[str, Any] = {"store": empty_redis(), "secret_keys": KEYS}
    async with (
        serve(tmp_path, **shared) as one,
        serve(tmp_path, **shared, process_number=1) as two,  # the same folder, so its accounts
        PythonVisitor(one.url) as here,
        PythonVisitor(two.url) as there,
    ):
        await here.sign_up("ann")
        watch = await watching(here)
        await shown(watch, lambda rows: rows[0]["connections"] == ["websocket"])
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        socket = await joined(there, "websocket")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        await socket.close()
        await shown(watch, lambda rows: rows[1]["connections"] == [])
        socket = await joined(there, "websocket")
        await shown(watch, lambda rows: rows[1]["connections"] == ["websocket"])
        assert (await revoke(here, "json", id_of(there))).status == 204
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        await shown(watch, lambda rows: len(rows) == 1)
        await there.sign_in("ann")
        await shown(watch, lambda rows: len(rows) == 2)
        await there.post("/logout")
        await shown(watch, lambda rows: len(rows) == 1)
