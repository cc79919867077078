"""Files of SQLite that are lost, damaged, full or copied, and when they are written."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from app.stores import StoreUnavailable
from app.stores.sqlite.store import SqliteStore
from tests.support.process import process
from tests.support.readiness import failed, ready
from tests.support.stores import opened, record
from tests.support.visitor import Visitor
from tests.support.waiting import until

SESSIONS, ACCOUNTS = "sessions.sqlite3", "accounts.sqlite3"


async def register(visitor: Visitor, name: str) -> int:
    fields = {"username": name, "password": "correct horse battery"}
    return (await visitor.post("/register", json=fields))[0]


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def replace(folder: Path) -> None:
    """Put a copy of the folder in its place, as a restore by hand does."""
    # a copy of a socket has no listener
    shutil.copytree(folder, folder.with_name("copy"), ignore=shutil.ignore_patterns("*.sock"))
    shutil.rmtree(folder)
    folder.with_name("copy").rename(folder)


def empty(folder: Path) -> None:
    """Put an empty folder in its place."""
    shutil.rmtree(folder)
    folder.mkdir()


def truncate(folder: Path) -> None:
    for path in folder.glob("*.sqlite3"):
        os.truncate(path, 0)


def delete_logs(folder: Path) -> None:
    for path in folder.glob("*-wal"):
        path.unlink()


each_loss = pytest.mark.parametrize("lose", [delete, replace, empty, truncate, delete_logs])


@each_loss
async def test_nothing_is_acknowledged_into_files_that_are_lost(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """Changes and registrations get 503, /readyz says no, and the store logs one line."""
    log = tmp_path / "log"
    async with (
        process(tmp_path / "data", log=log) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as bob,
    ):
        await ann.sign_up("ann")
        assert await ann.incr() == 1
        assert await failed(ann) == []
        lose(tmp_path / "data")
        assert (await ann.post("/incr"))[0] == 503
        assert await register(bob, "bob") == 503
        assert "store" in await failed(ann)
        assert (await ann.post("/incr"))[0] == 503
        assert log.read_text().count("ERROR latchkey.store: sessions.sqlite3 was deleted") == 1


async def test_files_that_come_back_are_used_again(tmp_path: Path) -> None:
    """A folder that was moved away and back loses nothing that was acknowledged."""
    data, away = tmp_path / "data", tmp_path / "away"
    async with process(data) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        assert await ann.incr() == 1
        data.rename(away)
        assert (await ann.post("/incr"))[0] == 503
        assert sorted(await failed(ann)) == ["database", "store"]
        away.rename(data)
        await until(lambda: ready(ann))
        count = await ann.incr()
        assert await site.stop() == 0
    async with (
        process(data) as site,
        Visitor(site.url, Cookie=ann.cookie) as same,
        Visitor(site.url) as again,
    ):
        assert await same.incr() == count + 1
        await again.sign_in("ann")


def grow_no_more(pid: int, folder: Path) -> None:
    """Let no file of this process grow, as on a disk that is full."""
    largest = max(path.stat().st_size for path in folder.iterdir())
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (min(largest, 4096), hard))


async def test_a_full_disk_is_not_ready_until_there_is_room(tmp_path: Path) -> None:
    async with (
        process(tmp_path / "data") as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as bob,
    ):
        await ann.sign_up("ann")
        assert await failed(ann) == []
        pid = site.process.pid
        grow_no_more(pid, tmp_path / "data")
        assert (await ann.post("/incr"))[0] == 503
        assert await register(bob, "bob") == 503
        assert sorted(await failed(ann)) == ["database", "store"]
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
        await until(lambda: ready(ann))
        assert await ann.incr() == 1
        assert await register(bob, "bob") == 204


def overwrite_header(log: Path) -> None:
    with log.open("r+b") as file:
        file.write(bytes(32))


def overwrite_a_page(log: Path) -> None:
    """Change bytes of the first page in the log."""
    with log.open("r+b") as file:
        file.seek(32 + 24 + 3000)
        file.write(b"damage" * 10)


def overwrite_all(log: Path) -> None:
    with log.open("r+b") as file:
        file.write(os.urandom(log.stat().st_size))


@contextlib.contextmanager
def log_in_use(database: Path) -> Iterator[None]:
    """Read from a database, so that SQLite cannot begin its log anew and so undo damage of it."""
    with contextlib.closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield


@pytest.mark.parametrize("spoil", [overwrite_header, overwrite_a_page, overwrite_all])
@pytest.mark.parametrize(("name", "part"), [(SESSIONS, "store"), (ACCOUNTS, "database")])
async def test_a_damaged_log_is_not_ready(
    tmp_path: Path, spoil: Callable[[Path], None], name: str, part: str
) -> None:
    """Data written after the damage would be lost at the next start."""
    log, data = tmp_path / "log", tmp_path / "data"
    async with process(data, log=log) as site, Visitor(site.url) as ann:
        with log_in_use(data / name):
            await ann.sign_up("ann")
            assert await ann.incr() == 1
            assert await failed(ann) == []
            spoil(data / f"{name}-wal")
            assert await failed(ann) == [part]
        said = log.read_text()
        # the others where the damage is such that it cannot even be read
        reasons = (f"{name}-wal is damaged", "is not a database", "image is malformed")
        assert any(reason in said for reason in reasons), said


async def test_a_ping_leaves_no_trace_in_the_data(tmp_path: Path) -> None:
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        await asyncio.gather(*(store.ping() for _ in range(10)))
        assert await store.load_many(["a"]) == {"a": record()}


async def test_a_store_whose_file_is_gone_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every write is refused; there is a line in the log when it begins and when it ends."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        path = tmp_path / SESSIONS
        path.rename(tmp_path / "away")
        for number in range(5):
            with pytest.raises(StoreUnavailable, match="deleted or replaced while it was in use"):
                await store.save(record(str(number)))
        (tmp_path / "away").rename(path)
        await store.save(record("back"))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_a_file_that_was_emptied_is_lost_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if SQLite has written the latest pages into it again."""
    monkeypatch.setattr("app.stores.sqlite.checkpoint_timer._IDLE_TIMEOUT", 0.02)
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        os.truncate(tmp_path / SESSIONS, 0)
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                await store.save(record("b"))
            (tmp_path / SESSIONS).write_bytes(bytes(4096))


async def test_the_session_file_is_whole_by_itself_when_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the one file has what was stored, and the log is empty."""
    monkeypatch.setattr("app.stores.sqlite.checkpoint_timer._IDLE_TIMEOUT", 0.05)
    async with opened("sqlite", tmp_path) as store:
        for number in range(10):
            await store.save(record(str(number)))
        log = tmp_path / f"{SESSIONS}-wal"
        await until(lambda: log.stat().st_size == 0)
        shutil.copy(tmp_path / SESSIONS, tmp_path / "copy")
        assert rows(tmp_path / "copy", "sessions") == 10
        await store.save(record("later"))
        assert len(await store.load_many(["0", "later"])) == 2


async def test_an_idle_store_makes_no_more_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stores.sqlite.checkpoint_timer._IDLE_TIMEOUT", 0.02)
    made: list[str] = []
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        store._commits._transactions._connection.set_trace_callback(
            lambda statement: made.append(statement) if "checkpoint" in statement else None
        )
        await store.save(record())
        await until(lambda: bool(made))
        await asyncio.sleep(0.2)
        assert len(made) == 1


async def test_writes_and_checkpoints_do_not_disturb_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.stores.sqlite.checkpoint_timer._IDLE_TIMEOUT", 0.0)
    async with opened("sqlite", tmp_path) as store:
        for number in range(200):
            await store.save(record(str(number)))
            if number % 10 == 0:
                await asyncio.sleep(0.001)
        assert len(await store.load_many([str(number) for number in range(200)])) == 200


async def test_a_copy_of_the_accounts_file_has_every_account(tmp_path: Path) -> None:
    """It need not wait until the program stops, and no log is needed beside it."""
    copy = tmp_path / "copy"
    async with process(tmp_path / "data") as site:
        for number in range(3):
            async with Visitor(site.url) as visitor:
                await visitor.sign_up(f"visitor {number}")
            await until(partial(copied, tmp_path / "data" / ACCOUNTS, copy, number + 1))


def copied(original: Path, copy: Path, accounts: int) -> bool:
    """Copy this one file; return whether the copy has so many accounts."""
    shutil.copy(original, copy)
    try:
        return rows(copy, "accounts") == accounts
    except sqlite3.DatabaseError:  # torn by the checkpoint
        return False


def rows(path: Path, table: str) -> int:
    with sqlite3.connect(path) as connection:
        count: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    connection.close()
    return count
