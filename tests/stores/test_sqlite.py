"""The SQLite store: durability, one owner, shared commits, clear errors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.stores import Lease, LeaseLost, Record, RecordGone, StoreUnavailable, public_id
from app.stores.sqlite import group_commit, rows
from app.stores.sqlite.database_file import FileOwned
from app.stores.sqlite.store import SqliteStore
from app.transport.tasks import Tasks
from tests.support.paths import ROOT
from tests.support.stores import opened, record

FILE = "sessions.sqlite3"

WRITER = """
import asyncio, sys
from pathlib import Path
from app.stores.sqlite import SqliteStore
from tests.support.stores import record

async def edit(store, number):
    await store.save(record(str(number)))
    lease = await store.lock(str(number))
    await lease.save(b"acknowledged")
    print(number, flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    number = 0
    while True:
        await asyncio.gather(*(edit(store, number + i) for i in range(20)))
        number += 20

asyncio.run(main())
"""


async def test_acknowledged_changes_survive_kill_9(tmp_path: Path) -> None:
    """Every change that the killed process acknowledged is in the file, and its lock is free."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path / FILE)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(50)]
    child.send_signal(signal.SIGKILL)
    lines += (await child.stdout.read()).splitlines()
    await child.wait()
    acknowledged = [str(int(line)) for line in lines]
    async with opened("sqlite", tmp_path) as store:
        found = await store.load_many(acknowledged)
    assert set(found) == set(acknowledged)
    assert {record.data for record in found.values()} == {b"acknowledged"}


async def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """The error names the file and what to do; the first process goes on."""
    async with opened("sqlite", tmp_path) as store:
        second = subprocess.run(
            [sys.executable, "-c", WRITER, str(tmp_path / FILE)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"{FILE} is in use by another process; stop that one" in second.stderr
        await store.save(record())


async def test_a_file_is_free_again_once_its_owner_closed_it(tmp_path: Path) -> None:
    """A second store in the same process is refused only while the first is open."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        with pytest.raises(FileOwned):
            SqliteStore(tmp_path / FILE)
    async with opened("sqlite", tmp_path) as store:
        assert await store.load("a") == record()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """The file is left as it was, and its lock is released."""
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="move it away"):
            SqliteStore(tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == b"no database" * 1000


def locked(folder: Path) -> sqlite3.Connection:
    """Lock the file as another program would."""
    other = sqlite3.connect(folder / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


async def test_writes_to_a_locked_file_fail_together_and_nothing_is_lost(tmp_path: Path) -> None:
    """100 waiting writes fail after one timeout, not 100; reads go on; afterwards writes work."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        other = locked(tmp_path)
        lease = await store.lock("a")
        writes = [store.save(record(str(number))) for number in range(100)]
        results = await asyncio.wait_for(
            asyncio.gather(lease.save(b"late"), *writes, return_exceptions=True), 8
        )
        assert {type(result) for result in results} == {StoreUnavailable}
        assert "end the program that holds the file locked" in str(results[0])
        assert await store.load("a") == record()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        other.execute("ROLLBACK")
        other.close()
        await store.ping()
        await store.save(record("0"))
        lease = await store.lock("a")
        assert lease.record == record()
        await lease.save(b"now")
        assert set(await store.load_many(["a", "0", "1"])) == {"a", "0"}


async def test_a_short_lock_only_delays_writes(tmp_path: Path) -> None:
    """A program that locks the file for a moment, such as a backup, only delays the write."""
    async with opened("sqlite", tmp_path) as store:
        other = locked(tmp_path)
        saving = asyncio.ensure_future(store.save(record()))
        await asyncio.sleep(0.3)
        assert not saving.done()
        other.execute("ROLLBACK")
        other.close()
        await saving
        assert await store.load("a") == record()


async def test_a_full_disk_refuses_what_does_not_fit_and_keeps_the_rest(tmp_path: Path) -> None:
    """StoreUnavailable says to make room; stored records stay, and small writes work."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        await store.save(record())
        store._commits._transactions._connection.execute("PRAGMA max_page_count = 20")
        large = asyncio.gather(
            store.save(record("large", data=bytes(200_000))),
            store.save(record("small")),
            return_exceptions=True,
        )
        refused, taken = await large
        assert isinstance(refused, StoreUnavailable)
        assert "Make room on the disk" in str(refused)
        assert taken is None
        lease = await store.lock("a")
        with pytest.raises(StoreUnavailable):
            await lease.save(bytes(200_000))
        assert set(await store.load_many(["a", "small", "large"])) == {"a", "small"}
        store._commits._transactions._connection.execute("PRAGMA max_page_count = 100000")
        await store.save(record("large", data=bytes(200_000)))
        assert await store.load("a") == record()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """The write fails, and succeeds once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk could be mounted: {mounted.stderr.decode().strip()}")
    try:
        async with opened("sqlite", disk) as store:
            await store.save(record())
            filler = disk / "filler"
            with pytest.raises(OSError), filler.open("wb", buffering=0) as file:  # noqa: PT012
                while True:
                    file.write(bytes(4096))
            refused = 0
            for number in range(200):
                try:
                    await store.save(record(str(number), data=bytes(4096)))
                except StoreUnavailable:
                    refused += 1
            assert refused
            assert await store.load("a") == record()
            filler.unlink()
            await store.save(record("later"))
            assert set(await store.load_many(["a", "later"])) == {"a", "later"}
    finally:
        subprocess.run(["umount", disk], check=True)


def commits(store: SqliteStore) -> list[str]:
    """Return a list that grows with every COMMIT."""
    made: list[str] = []
    store._commits._transactions._connection.set_trace_callback(
        lambda statement: made.append(statement) if statement == "COMMIT" else None
    )
    return made


async def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """Each commit is synced, so that acknowledged changes survive a power cut."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        writer = store._commits._transactions._connection
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_writes_that_come_together_share_commits(tmp_path: Path) -> None:
    """200 writes at once take two or three commits, and each is answered after its own."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        made = commits(store)
        await asyncio.gather(*(store.save(record(str(number))) for number in range(200)))
        assert len(made) <= 3
        store._commits._transactions._connection.set_trace_callback(None)
        assert len(await store.load_many([str(number) for number in range(200)])) == 200


async def test_a_write_that_fails_fails_alone(tmp_path: Path) -> None:
    """The other writes of its transaction are stored."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record("1"))
        results = await asyncio.gather(
            *(store.save(record(str(number))) for number in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), StoreUnavailable, type(None)]
        assert set(await store.load_many(["0", "1", "2"])) == {"0", "1", "2"}


async def test_saves_that_miss_their_records_fail_alone(tmp_path: Path) -> None:
    """Of edits that share one commit, only those fail whose record another program changed."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        for id in "abcd":
            await store.save(record(id))
        leases = [await store.lock(id) for id in "abcd"]
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("DELETE FROM sessions WHERE id = 'b'")
        other.execute("UPDATE sessions SET data = x'00', version = 2 WHERE id = 'c'")
        other.close()
        made = commits(store)
        saving = [lease.save(b"new") for lease in leases]
        results = await asyncio.gather(*saving, return_exceptions=True)
        stored = [record(id, data=b"new", version=2) for id in "ad"]
        assert [results[0], results[3]] == stored
        assert [type(result) for result in results[1:3]] == [RecordGone, LeaseLost]
        assert len(made) == 1
        store._commits._transactions._connection.set_trace_callback(None)
        found = await store.load_many(list("abcd"))
        assert [found["a"], found["d"]] == stored
        assert (found["c"].data, set(found)) == (b"\0", set("acd"))
        for id in "abcd":
            await (await store.lock(id)).release()


async def test_a_batch_does_not_wait_when_all_callers_have_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch waits for more writes only while some of the expected ones are missing."""
    monkeypatch.setattr(group_commit, "_GATHER_TIMEOUT", 4.0)
    async with opened("sqlite", tmp_path) as store:
        tasks, ended = Tasks(), asyncio.Semaphore(0)

        async def edit(id: str) -> None:
            await store.save(record(id))
            for _ in range(3):
                await (await store.lock(id)).save(b"new")

        for number in range(10):
            assert tasks.start(edit(str(number)), lambda _: ended.release())
        for _ in range(10):
            await asyncio.wait_for(ended.acquire(), 2)


async def test_the_first_caller_after_a_commit_sees_all_of_it(tmp_path: Path) -> None:
    """The first caller that is answered sees the other writes of its transaction."""
    async with opened("sqlite", tmp_path) as store:
        tasks, seen, ended = Tasks(), [], asyncio.Semaphore(0)
        for id in "ab":
            await store.save(record(id))
        leases = [await store.lock(id) for id in "ab"]

        async def edit(lease: Lease) -> None:
            await lease.save(b"new")
            seen.append([found.data for id in "ab" if (found := store.cached(id))])

        for lease in leases:
            assert tasks.start(edit(lease), lambda _: ended.release())
        for _ in leases:
            await asyncio.wait_for(ended.acquire(), 2)
        assert seen == [[b"new", b"new"]] * 2


async def test_writes_run_in_order_of_arrival(tmp_path: Path) -> None:
    """A removal between two edits of one batch is seen by the second alone."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record("a"))
        await store.save(record("b"))
        first, second = await store.lock("a"), await store.lock("b")

        async def save(lease: Lease) -> Record:
            return await lease.save(b"new")

        results = await asyncio.gather(
            first.save(b"new"),
            asyncio.create_task(store.destroy("a")),
            asyncio.create_task(store.destroy("b")),
            asyncio.create_task(save(second)),
            return_exceptions=True,
        )
        assert list(results[:3]) == [
            record("a", data=b"new", version=2),
            record("a", data=b"new", version=2),
            record("b"),
        ]
        assert isinstance(results[3], RecordGone)


def test_a_loop_that_closes_during_a_commit_does_no_harm(tmp_path: Path) -> None:
    """The write is stored, and the writer thread survives that its loop is closed."""

    async def leave() -> SqliteStore:
        store = SqliteStore(tmp_path / FILE)
        other = locked(tmp_path)
        saving = asyncio.ensure_future(store.save(record()))
        await asyncio.sleep(0.05)
        assert not saving.done()
        other.close()
        return store

    store = asyncio.run(leave())
    store._commits._executed.put(None)
    store._commits._thread.join()
    assert asyncio.run(store.load("a")) == record()
    store._commits._transactions._connection.close()
    asyncio.run(store._readers.close())


async def test_a_failed_commit_and_rollback_are_no_success(tmp_path: Path) -> None:
    """Whatever fails on the writer thread, no caller is told that its change was stored."""
    async with opened("sqlite", tmp_path) as store:
        assert isinstance(store, SqliteStore)
        writes = store._commits._transactions

        def broken(*_: object) -> list[Any]:
            raise sqlite3.OperationalError("disk I/O error")

        commit = writes.commit
        writes.commit = broken  # type: ignore[method-assign,assignment]
        results = await asyncio.gather(
            store.save(record("a")), store.save(record("b")), return_exceptions=True
        )
        assert {type(result) for result in results} == {StoreUnavailable}
        writes.commit = commit  # type: ignore[method-assign]
        await store.save(record("c"))
        assert set(await store.load_many(["a", "b", "c"])) == {"c"}


async def test_a_cancelled_caller_keeps_the_lock_until_its_write_has_ended(tmp_path: Path) -> None:
    """The next edit sees the write of the cancelled caller."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        other = locked(tmp_path)
        lease = await store.lock("a")
        saving = asyncio.ensure_future(lease.save(b"unwaited"))
        await asyncio.sleep(0.05)
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        waiting = asyncio.ensure_future(store.lock("a"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.execute("ROLLBACK")
        other.close()
        second = await waiting
        assert second.record == record(data=b"unwaited", version=2)
        await second.release()


async def test_closing_commits_queued_writes(tmp_path: Path) -> None:
    """Writes under way are stored; later ones are refused."""
    async with opened("sqlite", tmp_path) as store:
        writes = [asyncio.ensure_future(store.save(record(str(number)))) for number in range(500)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*writes)
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.save(record("late"))
        with pytest.raises(StoreUnavailable):
            await store.load("late")
    async with opened("sqlite", tmp_path) as store:
        assert len(await store.load_many([str(number) for number in range(500)])) == 500


async def test_a_record_that_is_removed_by_hand_has_ended(tmp_path: Path) -> None:
    """An operator who deletes a row with sqlite3 ends that session, cached or not."""
    async with opened("sqlite", tmp_path) as store:
        await store.save(record())
        await store.save(record("b"))
        assert await store.load("a") == record()
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("DELETE FROM sessions WHERE id = 'a'")
        other.close()
        await store.purge(0.0, 10)  # as the periodic callback does
        assert await store.load("a") is None
        assert await store.load("b") == record("b")


_OLD_SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, data BLOB NOT NULL, created REAL NOT NULL, seen REAL NOT NULL,
    expires REAL NOT NULL, user TEXT, remote_address TEXT NOT NULL, user_agent TEXT NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_user ON sessions (user) WHERE user IS NOT NULL;
"""
_OLD_INSERT = (
    "INSERT INTO sessions (id, data, created, seen, expires, user, remote_address, user_agent, "
    "version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


async def test_a_file_of_an_older_release_is_migrated(tmp_path: Path) -> None:
    """All its sessions are found, by public id too, also those that it writes later."""
    path = tmp_path / "sessions.sqlite3"
    before = [record("a", user_id="anna"), record("b", user_id="bert"), record("c")]
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(_OLD_SCHEMA)
        old.executemany(_OLD_INSERT, [msgspec.structs.astuple(found)[:-2] for found in before[:2]])
        old.commit()
    await SqliteStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as old:  # somebody went back for a while
        old.execute(_OLD_INSERT, msgspec.structs.astuple(before[2])[:-2])
        old.execute(_OLD_INSERT, msgspec.structs.astuple(record("d", user_id="anna"))[:-2])
        old.commit()
    store = SqliteStore(path)
    for found in before:
        assert await store.load(found.id) == found
    for id, user in (("a", "anna"), ("b", "bert"), ("d", "anna")):
        assert await store.find(user, public_id(id)) == record(id, user_id=user)
    assert await store.count("anna") == 2
    await store.close()


@pytest.mark.parametrize("statement", [rows.FIND, rows.OF_USER, rows.OLDEST])
async def test_statements_about_a_user_use_an_index(tmp_path: Path, statement: str) -> None:
    """No statement reads all sessions, or sorts those of the user."""
    store = SqliteStore(tmp_path / "sessions.sqlite3")
    marks = ("x",) * statement.count("?")
    plan = [row[3] for row in store._readers.read(f"EXPLAIN QUERY PLAN {statement}", marks)]
    assert len(plan) == 1
    assert plan[0].startswith("SEARCH sessions USING INDEX")
    await store.close()


async def test_reads_of_many_rows_run_on_their_own_thread(tmp_path: Path) -> None:
    """They run on a thread of their own."""
    store = SqliteStore(tmp_path / "sessions.sqlite3")
    threads: set[int] = set()
    run = store._readers._run

    def noted(*arguments: Any) -> Any:
        threads.add(threading.get_ident())
        return run(*arguments)

    store._readers._run = noted  # type: ignore[method-assign,assignment]
    await store.save(record("a", user_id="anna"))
    await asyncio.gather(
        *(store.of_user("anna"), store.count("anna"), store.load_many(["a"])),
        *(store.purge(0.0, 10), store.trim("anna", 0, "a")),
    )
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    await store.close()
