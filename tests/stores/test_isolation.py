"""A failure of one caller does not affect the others."""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from app.database.workers import Workers
from app.stores import StoreUnavailable
from app.stores.redis.subscriptions import Subscriber
from app.stores.sqlite.store import SqliteStore
from app.transport.tasks import Tasks
from tests.support.accounts import account_id
from tests.support.browsers import ended, session_id
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer, shared_server
from tests.support.site import serve
from tests.support.sites import processes
from tests.support.stores import every_store, opened, record
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Broken(asyncio.Future[Any]):
    """A caller's future that fails when it gets its result."""

    def set_result(self, result: Any) -> NoReturn:
        raise LookupError("injected")

    def set_exception(self, exception: Any) -> NoReturn:
        raise LookupError("injected")


class Unequal:
    """A value that cannot be compared."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        raise LookupError("injected")


def fail(*_: Any) -> NoReturn:
    raise LookupError("injected")


def injected(caplog: pytest.LogCaptureFixture) -> int:
    """Return how many injected failures were logged, and clear the log."""
    count = sum("injected" in (record.exc_text or "") for record in caplog.records)
    caplog.clear()
    return count


async def edit(store: Any, id: str) -> None:
    await (await store.lock(id)).save(b"new")


# -- a store, whichever --


@every_store
async def test_a_context_variable_of_an_event_cannot_stop_a_store(
    kind: str, tmp_path: Path
) -> None:
    """Handlers of a fork may keep a value in their context that cannot be compared."""
    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")
    async with opened(kind, tmp_path) as store:
        for number in range(10):
            await store.save(record(str(number)))
        tasks, ended = Tasks(), []

        async def event(id: str) -> None:
            if int(id) % 2:
                variable.set(Unequal())
            await edit(store, id)
            ended.append(id)

        for wanted in (10, 20, 30):
            for number in range(10):
                tasks.start(event(str(number)))
            await until(lambda wanted=wanted: len(ended) == wanted)


# -- SQLite: one writer --


class Write:
    """A write that returns its place in the batch; it, or its `finish`, may fail."""

    def __init__(self, *, finish: Any = None, error: Exception | None = None) -> None:
        self._finish = finish
        self._error = error

    @staticmethod
    def run(cursor: sqlite3.Cursor, writes: Sequence[Write]) -> list[int]:
        for write in writes:
            if write._error is not None:
                raise write._error
        return list(range(len(writes)))

    def finish(self, result: int | None) -> None:
        if self._finish is not None:
            self._finish()


async def test_a_failure_after_a_write_cannot_stop_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        submit = store._commits.submit
        answers = await asyncio.gather(submit(Write()), submit(Write(finish=fail)), submit(Write()))
        assert list(answers) == [0, 1, 2]
        assert injected(caplog) == 1
        await store.save(record())
        await edit(store, "a")


async def test_a_caller_that_cannot_be_answered_cannot_stop_the_writer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        submit, waiting = store._commits.submit, store._commits._waiting
        before, broken, after = (submit(Write()) for _ in range(3))
        waiting[1] = waiting[1][0], Broken()
        assert list(await asyncio.gather(before, after)) == [0, 2]
        assert not broken.done()
        assert injected(caplog) == 1
        await store.save(record())
        await edit(store, "a")


async def test_a_write_may_fail_with_any_exception(tmp_path: Path) -> None:
    """That holds also for an exception that a future cannot raise."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        submit = store._commits.submit
        errors = (StopIteration(), LookupError(), StopAsyncIteration())
        writes = [submit(Write()), *(submit(Write(error=error)) for error in errors)]
        answers = await asyncio.gather(*writes, submit(Write()), return_exceptions=True)
        kinds = [type(answer) for answer in answers]
        assert kinds == [int, RuntimeError, LookupError, StopAsyncIteration, int]
        await store.ping()


# -- Redis: one connection --


async def test_a_caller_that_cannot_be_answered_cannot_break_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        assert wire is not None
        before = asyncio.ensure_future(store.load("a"))
        broken = asyncio.ensure_future(store.load("a"))
        after = asyncio.ensure_future(store.load("a"))
        await asyncio.sleep(0)
        assert len(wire._waiting) == 3
        wire._waiting[1] = Broken()
        assert list(await asyncio.gather(before, after)) == [record()] * 2
        assert injected(caplog) == 1
        assert store._client._connection is wire
        broken.cancel()


async def test_a_caller_that_cannot_be_told_of_a_lost_connection_delays_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The other callers and the next connection are not delayed."""
    async with processes(1) as (store,):
        await store.save(record())
        wire = store._client._connection
        assert wire is not None
        broken = asyncio.ensure_future(store.load("a"))
        after = asyncio.ensure_future(store.load("a"))
        await asyncio.sleep(0)
        wire._waiting[0] = Broken()
        wire.abort()
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(after, 1)
        assert injected(caplog) == 1
        assert await store.load("a") == record()
        broken.cancel()


async def test_a_caller_that_cannot_be_refused_delays_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other callers that wait for a connection are refused in time."""
    server = RedisServer(tmp_path)
    async with processes(1, server.url) as (store,):
        broken = asyncio.ensure_future(store.load("a"))
        after = asyncio.ensure_future(store.load("a"))
        await asyncio.sleep(0)
        early = store._client._pending._commands
        early[0] = early[0][0], Broken(), False
        with pytest.raises(StoreUnavailable):
            await after
        assert injected(caplog) == 1
        broken.cancel()


async def test_a_failing_listener_does_not_close_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Listeners to opened and lost connections and to messages may fail; the others are called."""
    async with processes(1) as (store,):
        client, heard = store._client, list[str]()
        client.subscribe(
            Subscriber({"bad": fail}, connected=fail, disconnected=fail),
            Subscriber(
                {"good": lambda message: heard.append("message")},
                connected=lambda: heard.append("up"),
                disconnected=lambda: heard.append("down"),
            ),
        )
        await store.save(record())
        first = client._connection
        assert first is not None
        with shared_server().client() as redis:
            for channel in ("bad", "good"):
                redis.publish(channel, "x")
        await until(lambda: heard == ["up", "message"])
        assert client._connection is first
        assert injected(caplog) == 2
        first.abort()
        await until(lambda: "down" in heard)
        assert await store.load("a") == record()
        assert heard == ["up", "message", "down", "up"]
        assert injected(caplog) == 2


# -- lists of devices, ends of sessions, jobs of the database --


async def test_a_socket_that_cannot_be_sent_to_keeps_no_other_from_its_list(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        watchers, session = site.services.device_watchers, session_id(ann.cookie)
        user_id = await account_id(site, "ann")
        sent: list[str] = []

        async def send(sid: str, rows: list[Any]) -> None:
            if sid == "1":
                fail()
            sent.append(sid)

        for number in range(3):
            watchers.watch(user_id, str(number), lambda: session, send)
        await until(lambda: sent == ["0", "2"], 3)
        assert injected(caplog) == 1


async def test_a_session_that_cannot_be_ended_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next round tries again to end it."""
    monkeypatch.setattr("app.sessions.periodic_expiry._BATCH_SIZE", 1)
    clock = Clock()
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05) as site,
        Visitor(site.url) as bad,
        Visitor(site.url) as good,
    ):
        sockets = [await visitor.socket("websocket") for visitor in (bad, good)]
        stuck, sessions = session_id(bad.cookie), site.services.sessions
        end, broken = sessions.end, True

        async def end_but_one(id: str, *values: Any) -> bool:
            if id == stuck and broken:
                fail()
            return bool(await end(id, *values))

        monkeypatch.setattr(sessions, "end", end_but_one)
        clock.now += 10 * 86_400
        await until(lambda: bool(ended(sockets[1])))
        assert injected(caplog) >= 1
        broken = False
        await until(lambda: bool(ended(sockets[0])))


async def test_a_job_that_fails_keeps_no_other_from_its_turn() -> None:
    """It may raise anything, before its turn or in its thread."""
    workers = Workers("test", threads=1, max_queue=10, share=10)

    async def ask(job: Any, *, within: Any = None) -> Any:
        async with workers.turn("127.0.0.1"):
            if within is not None:
                within()
            async with asyncio.timeout(1):
                return await workers.run(job)

    jobs = [ask(int), ask(fail), ask(int, within=fail), ask(int)]
    answers = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(answer) for answer in answers] == [int, LookupError, LookupError, int]
    await workers.close()
