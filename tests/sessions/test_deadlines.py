"""The periodic callback: which records it loads, and which connections it closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.stores import Record, StoreUnavailable
from app.stores.memory import MemoryStore
from tests.support.clock import Clock
from tests.support.counting_store import CountingStore
from tests.support.site import Site, serve
from tests.support.visitor import Socket, Visitor
from tests.support.waiting import until


class Asked(CountingStore):
    """A store that records which sessions were loaded, and fails when told to."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
        self.asked: list[list[str]] = []
        self.down: tuple[str, ...] = ()

    async def before(self, call: str) -> None:
        if call in self.down:
            raise StoreUnavailable("the store is down")

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        self.asked.append(list(session_ids))
        return await super().load_many(session_ids)


class Crowd:
    """Visitors with sockets on a site whose clock and callback run only when told to."""

    def __init__(self, site: Site, store: Asked, clock: Clock, stack: Any) -> None:
        self.site = site
        self.store = store
        self.clock = clock
        self._stack = stack
        self.expiry = site.services.expiry
        self.sessions = site.services.sessions
        self.connections = site.services.connections

    async def join(self, sockets: int = 1) -> str:
        """Connect another visitor with so many sockets; return the id of the session."""
        visitor = await self._stack.enter_async_context(Visitor(self.site.url))
        await visitor.incr()
        known = set(self.connections.session_ids())
        for _ in range(sockets):
            socket: Socket = await visitor.socket("websocket")
            self._stack.push_async_callback(socket.close)
        (session_id,) = set(self.connections.session_ids()) - known
        return str(session_id)

    def here(self) -> set[str]:
        """Return the sessions that have connections."""
        return set(self.connections.session_ids())

    async def look(self, seconds: float = 0) -> list[list[str]]:
        """Let time pass, run one round, and return the ids that were loaded, per call."""
        self.clock.now += seconds
        self.store.asked.clear()
        await self.expiry.run_round()
        return [ids for ids in self.store.asked if ids]

    async def run(self) -> None:
        """Run one round as the periodic callback does."""
        await self.expiry.try_round()


@contextlib.asynccontextmanager
async def crowd(tmp_path: Path, **settings: Any) -> AsyncIterator[Crowd]:
    """Serve with a callback that runs only when called."""
    store, clock = Asked(), Clock()
    settings = {"session_idle_timeout": 1000.0, "expiry_interval": 3600.0, **settings}
    settings.setdefault("new_session_timeout", 0)
    async with (
        serve(tmp_path, store=store, clock=clock, **settings) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        site.services.expiry._reconciled = clock.now
        yield Crowd(site, store, clock, stack)


async def test_no_session_is_loaded_before_it_is_due(tmp_path: Path) -> None:
    """A round with nothing due loads no record, however many clients are connected."""
    async with crowd(tmp_path) as many:
        for _ in range(5):
            await many.join()
        assert await many.look(5) == []


async def test_due_sessions_are_loaded_in_one_batch(tmp_path: Path) -> None:
    """Two of five sessions are due: they are loaded in one call, and their connections closed."""
    async with crowd(tmp_path) as many:
        first, second = await many.join(), await many.join()
        many.clock.now += 500
        others = {await many.join() for _ in range(3)}
        many.expiry._reconciled = many.clock.now + 500
        asked = await many.look(500)
        assert [sorted(ids) for ids in asked] == [sorted([first, second])]
        assert many.here() == others


async def test_a_session_with_many_sockets_is_loaded_once(tmp_path: Path) -> None:
    """Its record is loaded once, not once per socket, and all its sockets are closed."""
    async with crowd(tmp_path) as many:
        one = await many.join(sockets=4)
        assert many.connections.count(one) == 4
        many.expiry._reconciled = many.clock.now + 1000
        assert await many.look(1000) == [[one]]
        assert many.here() == set()


async def test_an_active_session_is_checked_once_per_idle_timeout(tmp_path: Path) -> None:
    """At the old deadline the check finds a later one, and the next check is at that."""
    async with crowd(tmp_path) as many:
        one = await many.join()
        many.clock.now += 900
        await many.sessions.mark_active(one)
        many.expiry._reconciled = many.clock.now + 100
        assert await many.look(100) == [[one]]
        assert many.here() == {one}
        for _ in range(8):
            many.expiry._reconciled = many.clock.now + 100
            assert await many.look(100) == []
        many.expiry._reconciled = many.clock.now + 100
        assert await many.look(100) == [[one]]
        assert many.here() == set()


async def test_reconcile_closes_sessions_whose_record_was_removed(tmp_path: Path) -> None:
    """Its sockets close within 30 s, before its deadline; other sessions stay."""
    async with crowd(tmp_path) as many:
        gone, stays = await many.join(), await many.join()
        await many.store.inner.destroy(gone)
        assert await many.look(29) == []
        assert many.here() == {gone, stays}
        assert [sorted(ids) for ids in await many.look(1)] == [sorted([gone, stays])]
        assert many.here() == {stays}


@pytest.mark.parametrize("down", [("load_many",), ("destroy",), ("touch", "load_many", "purge")])
async def test_sockets_stay_open_while_the_store_is_down_which_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, down: tuple[str, ...]
) -> None:
    """When the store answers again, expired sessions are closed, and that is logged once too."""
    async with crowd(tmp_path) as many:
        over = await many.join()
        many.clock.now += 500
        stays = await many.join()
        many.store.down = down
        many.clock.now += 500
        for _ in range(3):
            await many.run()
        assert many.here() == {over, stays}
        many.store.down = ()
        # the queue itself must know who is due
        many.expiry._reconciled = many.expiry._sweep.done_at = many.clock.now
        await many.run()
        await many.run()
        assert many.here() == {stays}
        told = [line for line in caplog.messages if "store" in line]
        assert len(told) == 2
        assert "expiry paused until it answers" in told[0]
        assert told[1] == "session store available again, expiry resumed"


async def test_a_failed_reconcile_is_repeated(tmp_path: Path) -> None:
    """It is repeated in the next round in which the store answers, not 30 s later."""
    async with crowd(tmp_path) as many:
        gone = await many.join()
        await many.store.inner.destroy(gone)
        many.store.down = ("load_many",)
        many.clock.now += 30
        await many.run()
        assert many.here() == {gone}
        many.store.down = ()
        many.clock.now += 1
        await many.run()
        assert many.here() == set()


async def test_a_clock_that_is_set_back_does_not_stop_the_rounds(tmp_path: Path) -> None:
    """A removed record is noticed although the last check lies in the future."""
    async with crowd(tmp_path) as many:
        gone = await many.join()
        await many.store.inner.destroy(gone)
        await many.look(-10_000)
        assert many.here() == set()


async def swept(many: Crowd) -> None:
    """Wait until the sweep under way has ended."""
    sweep = many.expiry._sweep.task
    assert sweep is not None
    await sweep


async def test_expired_records_without_sockets_are_swept_in_batches(tmp_path: Path) -> None:
    """No batch is larger than 500, rounds go on meanwhile, and afterwards nothing is written."""
    async with crowd(tmp_path) as many:
        made = [await many.sessions.create(remote_address="", user_agent="") for _ in range(3000)]
        heard: list[str] = []
        many.sessions.on_end.append(lambda id, reason, record: heard.append(id))
        many.store.calls.clear()
        await many.look(1000)
        assert 0 < len(heard) < 3000
        await many.look(1)
        await until(lambda: len(heard) == 3000)
        assert set(heard) == {one.id for one in made}
        assert many.store.calls.count("purge") >= 7
        await swept(many)
        many.store.calls.clear()
        await many.look(1)
        assert "purge" not in many.store.calls


async def test_a_sweep_spares_sessions_that_become_active_meanwhile(tmp_path: Path) -> None:
    """A session that is active during a sweep had not expired when it began."""
    async with crowd(tmp_path) as many:
        for _ in range(600):
            await many.sessions.create(remote_address="", user_agent="")
        many.clock.now += 999
        late = [await many.sessions.create(remote_address="", user_agent="") for _ in range(3)]
        await many.look(1)
        many.clock.now += 998
        many.sessions.touch(late[0])
        many.clock.now += 10
        await swept(many)
        assert set(await many.store.inner.load_many([one.id for one in late])) == {
            one.id for one in late
        }


async def test_a_stop_waits_until_a_batch_of_a_sweep_is_announced(tmp_path: Path) -> None:
    """Every removed session is announced, and no more are removed."""
    async with crowd(tmp_path) as many:
        made = [await many.sessions.create(remote_address="", user_agent="") for _ in range(1000)]
        heard: list[str] = []

        async def slow_hook(session_id: str, reason: str, record: Any) -> None:
            await asyncio.sleep(0.001)
            heard.append(session_id)

        many.sessions.on_end.append(slow_hook)
        await many.look(1000)
        await until(lambda: len(heard) > 200)
        many.expiry.stop()
        await many.expiry.finish(5)
        left = await many.store.inner.load_many([one.id for one in made])
        assert len(left) + len(heard) == 1000
        assert left


async def test_sessions_that_never_end_do_not_fill_the_queue(tmp_path: Path) -> None:
    """Sessions without connections are forgotten, those with connections stay."""
    async with crowd(tmp_path, session_idle_timeout=0.0, session_max_age=0.0) as many:
        one = await many.join()
        for number in range(5000):
            many.expiry.watch(str(number), float("inf"))
        await many.look()
        assert many.expiry._queue.session_ids() == {one}
        assert len(many.expiry._queue) == 1
