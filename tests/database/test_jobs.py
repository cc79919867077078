"""Jobs on the database: `services.database.run` and `read`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.database import Database, DatabaseUnavailable, Schema
from app.database import database as module
from tests.support.postgres import Place

metadata = sa.MetaData()
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Database]:
    """A database with the table of notes."""
    database = Database(place.settings, [Schema(name="tests.notes", metadata=metadata)])
    try:
        yield database
    finally:
        await database.close()


def add(connection: sa.Connection, id: int = 1) -> int:
    connection.execute(sa.insert(notes), {"id": id, "text": "hello"})
    return id


def count(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(notes)).scalar_one()


async def test_a_job_is_committed_and_its_result_returned(place: Place) -> None:
    """The next job and another program see what it stored."""
    async with opened(place) as database:
        assert await database.run(add) == 1
        assert await database.read(count) == 1
        assert place.run("SELECT text FROM notes") == [("hello",)]


async def test_a_job_that_raises_changes_nothing(place: Place) -> None:
    """The caller gets its exception, whichever it is."""

    def fail(connection: sa.Connection) -> None:
        add(connection)
        raise LookupError

    async with opened(place) as database:
        with pytest.raises(LookupError):
            await database.run(fail)
        assert await database.read(count) == 0
        await database.run(add)
        with pytest.raises(IntegrityError):
            await database.run(add)
        with pytest.raises(SQLAlchemyError, match="no_such_table") as caught:
            await database.run(lambda c: c.exec_driver_sql("SELECT * FROM no_such_table").all())
        assert not isinstance(caught.value, DatabaseUnavailable)


async def test_jobs_that_read_and_then_write_lose_no_update(place: Place) -> None:
    """On SQLite a job has the file for itself; on PostgreSQL it locks the row that it read."""

    def increment(connection: sa.Connection) -> None:
        row = sa.select(notes.c.text).where(notes.c.id == 1).with_for_update()
        number = int(connection.execute(row).scalar_one())
        connection.execute(sa.update(notes).values(text=str(number + 1)))

    async with opened(place) as database:
        await database.run(lambda c: c.execute(sa.insert(notes), {"id": 1, "text": "0"}).rowcount)
        await asyncio.gather(*(database.run(increment) for _ in range(40)))
        assert place.run("SELECT text FROM notes") == [("40",)]


async def test_a_reading_job_cannot_write(place: Place) -> None:
    """The database itself refuses, and the next job may write again."""
    async with opened(place) as database:
        for _ in range(module._THREADS * 2):
            with pytest.raises((SQLAlchemyError, DatabaseUnavailable)):
                await database.read(add)
        assert await asyncio.gather(
            *(database.run(functools.partial(add, id=id)) for id in range(1, 10))
        )
        assert await database.read(count) == 9


async def test_a_job_that_takes_too_long_is_rolled_back(place: Place) -> None:
    """The caller gets an error after its time, and what the job did is never stored."""
    goes_on = threading.Event()
    ended = threading.Event()

    def slow(connection: sa.Connection) -> None:
        add(connection)
        goes_on.wait(20)
        ended.set()

    async with opened(place) as database:
        with pytest.raises(DatabaseUnavailable, match="too long"):
            await database.run(slow, seconds=0.2)
        goes_on.set()
        await asyncio.to_thread(ended.wait, 20)
        assert await database.run(count) == 0


async def test_the_job_of_a_cancelled_caller_is_rolled_back(place: Place) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        add(connection)
        begun.set()
        goes_on.wait(20)

    async with opened(place) as database:
        waiting = asyncio.ensure_future(database.run(slow))
        await asyncio.to_thread(begun.wait, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        goes_on.set()
        assert await database.run(count) == 0


async def test_a_statement_that_takes_too_long_is_interrupted(place: Place) -> None:
    """Its thread is free again for other jobs."""
    endless = {
        "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT count(*) FROM n",
        "postgresql": "SELECT pg_sleep(1000)",
    }

    def slow(connection: sa.Connection) -> Any:
        return connection.exec_driver_sql(endless[connection.dialect.name]).scalar()

    async with opened(place) as database:
        asked = [database.read(slow, seconds=0.3) for _ in range(module._THREADS * 2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {DatabaseUnavailable}
        assert await database.run(add) == 1


async def test_a_job_may_have_more_time_than_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL its statements have it too."""
    monkeypatch.setattr(module, "_JOB_TIMEOUT", 0.3)
    monkeypatch.setattr("app.database.postgresql._STATEMENT_TIMEOUT", 300)
    monkeypatch.setattr("app.database.postgresql.LimitedConnection.answer_timeout", 0.3)

    def slow(connection: sa.Connection) -> int:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_sleep(0.6)")
        else:
            time.sleep(0.6)
        return add(connection)

    async with opened(place) as database:
        with pytest.raises(DatabaseUnavailable):
            await database.run(slow)
        assert await database.run(slow, seconds=20) == 1
        with pytest.raises(DatabaseUnavailable):  # the connection has its usual limits again
            await database.run(slow)


async def test_jobs_beyond_the_queue_are_refused_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_QUEUE", 2)
    gate = threading.Event()
    async with opened(place) as database:
        most = module._THREADS + 2
        waiting = [
            asyncio.ensure_future(database.read(lambda _: gate.wait(20))) for _ in range(most)
        ]
        await asyncio.sleep(0)
        try:
            with pytest.raises(DatabaseUnavailable, match="Too many"):
                await database.read(count)
        finally:
            gate.set()
        assert await asyncio.gather(*waiting) == [True] * most


async def test_a_result_that_is_closed_is_refused(place: Place) -> None:
    """The mistake is named; otherwise it would show where the result is read."""
    async with opened(place) as database:
        with pytest.raises(TypeError, match=r"return result\.all"):
            await database.read(lambda connection: connection.execute(sa.select(notes)))
        await database.run(lambda connection: connection.execute(sa.delete(notes)))


async def test_a_coroutine_function_is_refused(place: Place) -> None:
    async def job(connection: sa.Connection) -> None:
        pass

    async with opened(place) as database:
        with pytest.raises(TypeError, match="plain function"):
            await (await database.run(job))


async def test_a_stop_rolls_back_the_jobs_that_run(place: Place) -> None:
    """It does not wait for a statement that would never end."""
    begun = threading.Event()

    def slow(connection: sa.Connection) -> None:
        add(connection)
        begun.set()
        if connection.dialect.name == "sqlite":
            endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            connection.exec_driver_sql(endless + "SELECT count(*) FROM n").scalar()
        else:
            connection.exec_driver_sql("SELECT pg_sleep(1000)")

    async with opened(place) as database:
        waiting = asyncio.ensure_future(database.run(slow))
        await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(DatabaseUnavailable):
        await waiting
    assert place.run("SELECT * FROM notes") == []


async def test_a_job_after_the_stop_is_told_that_the_database_is_closed(place: Place) -> None:
    async with opened(place) as database:
        pass
    for call in (database.run, database.read):
        with pytest.raises(DatabaseUnavailable, match="database is closed"):
            await call(count)
