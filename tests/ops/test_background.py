"""Tasks, timers and watchers end with their owner, and all of them when the process stops."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from app.common.background import Background, wait_until_set
from tests.support.accounts import account_id
from tests.support.browsers import ended
from tests.support.devices import shown, watching
from tests.support.redis_server import RedisServer
from tests.support.remains import counts, served, settled, tasks, timers
from tests.support.site import Site, serve
from tests.support.sites import processes, sites
from tests.support.stores import record
from tests.support.visitor import Visitor
from tests.support.waiting import until

STORES = pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])


# -- what a session leaves --


@STORES
async def test_signing_out_with_the_account_page_open_leaves_nothing(
    tmp_path: Path, store: str
) -> None:
    """The list is being made, or is about to be, when the session ends."""
    async with served(tmp_path, store, failed_logins_per_minute=0) as site:
        before = counts(site)
        async with Visitor(site.url) as ann:
            await ann.sign_up("ann")
            for pause in (0.0, 0.24, 0.25, 0.26, 0.3):
                socket = await watching(ann)
                await asyncio.sleep(pause)
                assert (await ann.post("/logout"))[0] in (204, 302, 303)
                await until(lambda socket=socket: not socket.client.connected)
                await ann.sign_in("ann")
        await settled(site, before)


@STORES
@pytest.mark.limit(60)
@pytest.mark.attack("A38")
async def test_churn_leaves_nothing(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sign-ins, account pages over both transports, reconnects, sign-outs."""
    monkeypatch.setattr("app.transport.engineio.polling.LAST_POLL_TIMEOUT", 0.5)
    async with served(tmp_path, store, failed_logins_per_minute=0) as site:
        before = counts(site)

        async def live(name: str) -> None:
            async with Visitor(site.url) as visitor:
                await visitor.sign_up(name)
                for number in range(6):
                    transport = ("websocket", "polling")[number % 2]
                    watch = await visitor.socket(transport, namespaces=("/account",))
                    other = await visitor.socket(transport, reconnection=True)
                    await shown(watch, bool)
                    if number % 3 == 0:
                        await watch.close()
                    await visitor.post("/logout")
                    await until(lambda other=other: bool(ended(other)))
                    await until(lambda other=other: other.connects > 1)
                    await other.close()
                    await watch.close()
                    await visitor.sign_in(name)

        await asyncio.gather(*(live(f"user{number}") for number in range(4)))
        await settled(site, before)


async def test_a_watcher_that_swallows_its_cancellation_ends(site: Site, ann: Visitor) -> None:
    """As the `send` of a fork may do."""
    await ann.sign_up("ann")
    watchers, sending = site.services.device_watchers, asyncio.Event()

    async def send(sid: str, rows: list[Any]) -> None:
        sending.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)

    before = len(tasks())
    user_id = await account_id(site, "ann")
    id = next(iter(await session_ids(site, user_id)))
    watchers.watch(user_id, "1", lambda: id, send)
    await sending.wait()
    watchers.unwatch(user_id, "1")
    await until(lambda: len(tasks()) == before)
    assert not watchers._users


async def session_ids(site: Site, user_id: str) -> list[str]:
    records = site.services.sessions.store.of_user(user_id)
    found: Any = await records
    return [record.id for record in (found[0] if isinstance(found, tuple) else found)]


async def test_an_ack_of_another_process_ends_its_wait(tmp_path: Path) -> None:
    async with sites(tmp_path) as (one, two), Visitor(one.url) as ann:
        socket = await ann.socket("websocket")
        acks: list[Any] = []
        sid = socket.client.get_sid("/")
        emit = two.services.socket_server.emit
        await emit("question", 1, to=sid, callback=lambda *values: acks.append(values))
        await until(lambda: bool(acks))
        rooms: Any = two.services.socket_server.manager
        assert not rooms._ack_timers
        await socket.close()


# -- what a stopped application leaves --


@STORES
async def test_a_stopped_application_leaves_no_task_timer_or_thread(
    tmp_path: Path, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was under way: pages, events, lists of devices, checks, other processes."""
    threads = set(threading.enumerate())
    async with contextlib.AsyncExitStack() as stack:
        visitor = await stack.enter_async_context(contextlib.AsyncExitStack())
        site = await stack.enter_async_context(served(tmp_path, store))
        ann = await visitor.enter_async_context(Visitor(site.url))
        await ann.sign_up("ann")
        watch = await watching(ann)
        socket = await ann.socket("websocket")
        polling = await ann.socket("polling")
        await shown(watch, bool)
        for _ in range(5):
            await socket.call("incr")
        await ann.get("/readyz")
        cut_off: list[str] = []

        async def hang(where: str) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                cut_off.append(where)

        site.app.web.tasks.start(hang("page"))
        site.services.socket_server.tasks.start(hang("event"))
        site.services.background(hang("beside"))
        assert tasks()
        assert timers()
        await site.app.stop()
        assert sorted(cut_off) == ["beside", "event", "page"]
        assert [task for task in tasks() if "stop" not in repr(task.get_coro())] == []
        assert timers() == []
        for client in (watch, socket, polling):
            await client.close()
    left = {thread.name for thread in set(threading.enumerate()) - threads}
    assert [name for name in left if not name.startswith("asyncio_")] == []
    assert "background task failed" not in caplog.text


async def test_a_drain_that_is_cut_short_leaves_no_task(tmp_path: Path) -> None:
    async with serve(tmp_path, drain_time=30.0) as site, Visitor(site.url) as ann:
        sockets = [await ann.socket("websocket") for _ in range(25)]
        skip = asyncio.Event()
        before = len(tasks())
        draining = asyncio.create_task(site.app.drain(skip))
        await asyncio.sleep(0.05)
        skip.set()
        await draining
        assert len(tasks()) <= before
        for socket in sockets:
            await socket.close()


async def test_a_closed_link_to_a_redis_leaves_nothing(tmp_path: Path) -> None:
    """Whether it was connected, waits for a connection, or was never used."""
    for number, prepare in enumerate((connected, waiting, unused)):
        server = RedisServer(tmp_path / str(number))
        async with processes(1, server.url) as (store,):
            await prepare(server, store)
        assert tasks() == []
        assert timers() == []
        server.kill()


async def connected(server: RedisServer, store: Any) -> None:
    server.start()
    await store.save(record())
    for _ in range(3):
        await (await store.lock("a")).save(b"busy")


async def waiting(server: RedisServer, store: Any) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(0.05):
            await store.load("a")


async def unused(server: RedisServer, store: Any) -> None:
    pass


async def test_a_link_that_reconnects_at_once_has_one_timer(tmp_path: Path) -> None:
    """Or an old timer would check the new connection as well."""
    async with processes(1) as (store,):
        await store.save(record())
        before = len(timers())
        for _ in range(5):
            wire = store._client._connection
            assert wire is not None
            wire.abort()
            await until(lambda wire=wire: store._client._connection not in (wire, None))
            assert await store.load("a") == record()
        assert len(timers()) == before


# -- the parts --


async def test_a_cancellation_that_comes_with_the_event_is_not_swallowed() -> None:
    """As `asyncio.wait_for` does in Python 3.11."""
    event = asyncio.Event()
    waiting = asyncio.create_task(wait_until_set(event, 60))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()


async def test_an_event_is_waited_for_no_longer_than_asked() -> None:
    event = asyncio.Event()
    assert not await wait_until_set(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await wait_until_set(event, 60)
    assert await wait_until_set(event, 0)


async def test_background_tasks_are_cancelled_until_they_end() -> None:
    """Also those that swallow a cancellation; those that end in time are left alone."""
    background, order = Background(), list[str]()

    async def quick() -> None:
        await asyncio.sleep(0.01)
        order.append("quick")

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        order.append("swallowed")
        await asyncio.sleep(60)

    started = [background.start(quick()), background.start(stubborn())]
    await background.stop(seconds=0.5)
    assert order == ["quick", "swallowed"]
    assert [task.cancelled() for task in started] == [False, True]


async def test_a_background_task_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    async def fail() -> None:
        raise LookupError("injected")

    background.start(fail())
    await until(lambda: "injected" in caplog.text)
    await background.stop()
