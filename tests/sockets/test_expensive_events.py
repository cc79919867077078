"""Events and pages that would be expensive for users with many sessions, and their rate limits."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from app import rate_limits
from app.devices import watchers as module
from app.stores import public_id
from app.stores.memory import MemoryStore
from tests.support.accounts import account_id
from tests.support.counting_store import CountingStore
from tests.support.devices import watching
from tests.support.forms import PAGE, PASSWORD, ask
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until


async def with_sessions(site: Site, user: str, number: int) -> list[str]:
    """Store sessions of this user; return their ids."""
    sessions = site.services.sessions
    return [
        (await sessions.create(remote_address="", user_agent="", user_id=user)).id
        for _ in range(number)
    ]


async def test_a_public_id_is_looked_up_in_one_call_known_or_not(tmp_path: Path) -> None:
    """That holds for the event and the form, however many sessions the user has."""
    store = CountingStore(MemoryStore())
    async with (
        serve(tmp_path, store=store, max_sessions_per_user=0) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        made = await with_sessions(site, await account_id(site, "ann"), 300)
        socket = await ann.socket("websocket", namespaces=("/account",))
        await until(lambda: "of_user" in store.calls)
        await site.services.device_watchers.stop()  # whose list asks as well
        store.calls.clear()
        assert "error" in await socket.call("revoke", "unknown", namespace="/account")
        assert [call for call in store.calls if call != "load"] == ["find"]
        store.calls.clear()
        assert await socket.call("revoke", public_id(made[7]), namespace="/account") is True
        assert [call for call in store.calls if call != "load"] == ["find", "destroy"]
        store.calls.clear()
        path = f"/account/sessions/{public_id(made[8])}/revoke"
        assert (await ann.post(path))[0] == 204
        assert [call for call in store.calls if call != "load"] == ["find", "destroy"]
        await socket.close()


async def test_signing_out_everywhere_ends_all_in_pages(tmp_path: Path) -> None:
    """No call reads more than a page of sessions, and none is left."""

    class Paged(CountingStore):
        largest = 0

        async def of_user(self, user_id: str, limit: int = 100) -> Any:
            found = await super().of_user(user_id, limit)
            self.largest = max(self.largest, len(found))
            return found

    store = Paged(MemoryStore())
    async with (
        serve(tmp_path, store=store, max_sessions_per_user=0) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        await with_sessions(site, await account_id(site, "ann"), 450)
        assert (await ann.post("/account/sessions/revoke-others"))[0] == 204
        assert await store.inner.count(await account_id(site, "ann")) == 1
        assert store.largest == 100


async def test_a_revoke_counts_as_several_events(tmp_path: Path) -> None:
    """Twelve revokes exceed a limit of 100 events a second; twelve other events do not."""
    async with serve(tmp_path, events_per_second=50) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        engine = site.services.socket_server.engine
        socket = await ann.socket("websocket", namespaces=("/", "/account"))
        for _ in range(12):
            await socket.call("count")
        assert engine.throttled == 0
        answers = [socket.call("revoke", "unknown", namespace="/account") for _ in range(12)]
        assert await asyncio.gather(*answers) == [{"error": "unknown session"}] * 12
        assert engine.throttled >= 1
        await socket.close()


async def test_the_account_page_is_rate_limited_per_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the page says how long to wait; other users and other pages are not limited."""
    monkeypatch.setattr(rate_limits, "_ACCOUNT_PAGES", 5)
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        for _ in range(5):
            assert (await ask(ann, "/account")).status == 200
        refused = await ask(ann, "/account")
        assert refused.status == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        form = {"password": PASSWORD, "new_password": PASSWORD}
        assert (await ann.post("/account/password", data=form, headers=PAGE))[0] == 429
        assert (await ask(bob, "/account")).status == 200
        assert await ann.incr() == 1


async def test_a_list_that_takes_long_is_computed_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it changes, computing and sending it takes a fifth of the time at most."""
    monkeypatch.setattr(module, "_MIN_INTERVAL", 0.0)
    loop = asyncio.get_running_loop()
    took = 0.05
    spans: list[tuple[float, float]] = []
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        user_id = await account_id(site, "ann")
        devices, watchers = site.services.devices, site.services.device_watchers
        latest = devices.latest

        async def slow(*arguments: Any) -> Any:
            began = loop.time()
            watchers.changed(user_id)
            await asyncio.sleep(took)
            spans.append((began, loop.time()))
            return await latest(*arguments)

        monkeypatch.setattr(devices, "latest", slow)
        socket = await watching(ann)
        await until(lambda: watchers.changed(user_id) or len(spans) >= 4)
        await socket.close()
    for (_, end), (begin, _) in itertools.pairwise(spans):
        assert begin - end >= 4 * took * 0.99
