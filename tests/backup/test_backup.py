"""`python -m app backup` and `restore`: a copy of the data folder, while the server runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.backup.files import copy_all
from app.ops import data_folder
from tests.support.process import process, run
from tests.support.redis_server import empty_redis
from tests.support.site import serve
from tests.support.visitor import Visitor

ACCOUNTS, SESSIONS = "accounts.sqlite3", "sessions.sqlite3"


async def backup(data: Path, folder: Path, *flags: str) -> str:
    """Make a backup; return what it said."""
    code, out, err = await run("backup", str(folder), f"--data-dir={data}", *flags)
    assert (code, err) == (0, "")
    return out


async def restore(data: Path, folder: Path, *flags: str) -> str:
    code, out, err = await run("restore", str(folder), f"--data-dir={data}", *flags)
    assert (code, err) == (0, "")
    return out


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user to whom modes of files apply."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.limit(60)
async def test_a_backup_during_registrations_has_all_that_came_before(tmp_path: Path) -> None:
    """Restored into an empty folder, accounts can sign in and sessions go on."""
    data, copy, new = tmp_path / "data", tmp_path / "copies" / "monday", tmp_path / "new"
    made: list[str] = []

    async def register(url: str) -> None:
        while True:
            async with Visitor(url) as visitor:
                name = f"visitor {len(made)}"
                await visitor.sign_up(name)
                made.append(name)

    async with process(data) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        assert [await ann.incr() for _ in range(3)] == [1, 2, 3]
        registering = asyncio.ensure_future(register(site.url))
        while len(made) < 3:
            await asyncio.sleep(0.01)
        before = list(made)
        said = await backup(data, copy)
        assert f"{data} is copied to {copy}: {ACCOUNTS}, secret_key" in said
        assert not registering.done()
        registering.cancel()
        await asyncio.gather(registering, return_exceptions=True)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o700
    assert modes(copy) == {0o600}
    assert {path.name for path in copy.iterdir()} == {
        *(ACCOUNTS, SESSIONS, "backup.json", "secret_key", "secret_key.used"),
    }
    with sqlite3.connect(copy / ACCOUNTS) as accounts, sqlite3.connect(copy / SESSIONS) as sessions:
        rows = accounts.execute("SELECT name, id FROM accounts").fetchall()
        users = {user for (user,) in sessions.execute("SELECT user FROM sessions") if user}
    accounts.close()
    sessions.close()
    assert {"ann", *before} <= {name for name, _ in rows}
    assert users <= {id for _, id in rows}
    await restore(new, copy)
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    assert modes(new) == {0o600}
    async with (
        process(new) as site,
        Visitor(site.url, Cookie=ann.cookie) as same,
        Visitor(site.url) as again,
    ):
        assert await same.incr() == 4
        await again.sign_in(before[-1])


async def test_a_backup_after_a_crash_includes_the_write_ahead_logs(tmp_path: Path) -> None:
    data, copy, new = tmp_path / "data", tmp_path / "copy", tmp_path / "new"
    async with process(data) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        for number in range(20):
            assert await ann.incr() == number + 1
        site.process.kill()
        await site.process.wait()
    await backup(data, copy)
    await restore(new, copy)
    async with process(new) as site, Visitor(site.url, Cookie=ann.cookie) as same:
        assert await same.incr() == 21


async def test_a_backup_copies_other_files_of_the_data_folder(tmp_path: Path) -> None:
    """A fork's own files and databases, in folders too; no locks and no logs."""
    data, copy, new = tmp_path / "data", tmp_path / "copy", tmp_path / "new"
    (data / "pictures").mkdir(parents=True)
    (data / "pictures" / "ann.png").write_bytes(b"picture")
    (data / "sessions.lock").write_bytes(b"")
    (data / "secret_key").write_text("k" * 40 + "\n")
    own = sqlite3.connect(data / "own.db", isolation_level=None)
    own.execute("PRAGMA journal_mode = WAL")
    own.execute("CREATE TABLE own (value)")
    own.execute("INSERT INTO own VALUES (7)")
    await backup(data, copy)
    own.close()
    assert {path.name for path in copy.iterdir()} == {
        *("backup.json", "pictures", "secret_key", "own.db"),
    }
    await restore(new, copy)
    assert (new / "pictures" / "ann.png").read_bytes() == b"picture"
    restored = sqlite3.connect(new / "own.db")
    assert restored.execute("SELECT value FROM own").fetchall() == [(7,)]
    restored.close()


async def some_backup(tmp_path: Path, name: str = "ann") -> tuple[Path, Path]:
    """Return a data folder with one account, and a backup of it."""
    data, copy = tmp_path / f"data of {name}", tmp_path / f"copy of {name}"
    async with serve(tmp_path / name, store="sqlite") as site, Visitor(site.url) as visitor:
        await visitor.sign_up(name)
    (tmp_path / name / "data").rename(data)
    await backup(data, copy)
    return data, copy


async def refused(*words: str) -> str:
    """Run a command that must fail; return its one sentence."""
    code, out, err = await run(*words)
    assert (code, out) == (1, ""), err
    assert err.startswith(f"latchkey: {words[0]} failed: ")
    assert err.count("\n") == 1
    return err


async def test_a_restore_replaces_data_only_with_replace(tmp_path: Path) -> None:
    _, ann = await some_backup(tmp_path)
    data, _ = await some_backup(tmp_path, "bob")
    (data / "accounts.sqlite3-wal").write_bytes(b"the log of another database")
    (data / "old").write_text("old")
    before = contents(data)
    assert "add --replace" in await refused("restore", str(ann), f"--data-dir={data}")
    assert contents(data) == before
    await restore(data, ann, "--replace")
    assert set(contents(data)) - {"sessions.lock", "last_backup"} == set(contents(ann)) - {
        "backup.json"
    }
    async with process(data) as site, Visitor(site.url) as visitor:
        await visitor.sign_in("ann")


async def test_a_restore_into_a_folder_that_is_in_use_is_refused(tmp_path: Path) -> None:
    _, copy = await some_backup(tmp_path)
    for flags in ((), (f"--store={empty_redis()}", "--secret-keys=" + "k" * 32)):
        data = tmp_path / f"used {len(flags)}"
        async with process(data, *flags) as site, Visitor(site.url) as bob:
            await bob.sign_up("bob")
            said = await refused("restore", str(copy), f"--data-dir={data}", "--replace")
            assert "in use by another process; stop that one" in said
            assert await bob.incr() == 1
        await restore(data, copy, "--replace")


def cut(copy: Path) -> None:
    os.truncate(copy / ACCOUNTS, 9000)


def spoil(copy: Path) -> None:
    with (copy / ACCOUNTS).open("r+b") as file:
        file.seek(4096)
        file.write(b"damage" * 500)


def empty(copy: Path) -> None:
    (copy / ACCOUNTS).write_bytes(b"")


def other(copy: Path) -> None:
    (copy / ACCOUNTS).unlink()
    with sqlite3.connect(copy / ACCOUNTS) as database:
        database.execute("CREATE TABLE other (value)")
    database.close()


def cut_key(copy: Path) -> None:
    (copy / "secret_key").write_text("cut")


def strange(copy: Path) -> None:
    shutil.rmtree(copy)
    copy.mkdir()
    (copy / "letter.txt").write_text("hello")


def missing(copy: Path) -> None:
    shutil.rmtree(copy)


@pytest.mark.parametrize("break_it", [cut, spoil, empty, other, cut_key, strange, missing])
async def test_a_broken_backup_is_refused_and_changes_nothing(
    tmp_path: Path, break_it: Callable[[Path], None]
) -> None:
    data, copy = await some_backup(tmp_path)
    break_it(copy)
    before = contents(data)
    words = ("restore", str(copy), f"--data-dir={data}", "--replace")
    await refused(*words)
    # the databases are checked too if a backup of an older release has no checksums
    (copy / "backup.json").unlink(missing_ok=True)
    await refused(*words, "--unchecked")
    assert contents(data) == before
    assert {path.name for path in data.iterdir() if path.is_dir()} == set()


async def test_a_wrong_folder_is_refused_before_it_is_copied(tmp_path: Path) -> None:
    """It may be large, or hold databases that cannot be read."""
    data, copy = await some_backup(tmp_path)
    strange(copy)
    (copy / "broken.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(10))
    said = await refused("restore", str(copy), f"--data-dir={data}", "--replace", "--unchecked")
    assert "is not a backup" in said


async def test_a_database_that_cannot_be_copied_is_named(tmp_path: Path) -> None:
    data, copy = await some_backup(tmp_path)
    (copy / "broken.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(10))
    (copy / "backup.json").unlink()
    said = await refused("restore", str(copy), f"--data-dir={data}", "--replace", "--unchecked")
    assert f"{copy / 'broken.sqlite3'} could not be copied" in said


async def test_a_copy_by_hand_on_a_read_only_medium_can_be_restored() -> None:
    """The files of a stopped server have no log, and SQLite cannot make one there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, new = folder / "data", folder / "new"
        async with process(data) as site, Visitor(site.url) as visitor:
            await visitor.sign_up("ann")
            await site.stop()
        assert not list(data.glob("*-wal"))
        new.mkdir()
        for path in (*folder.rglob("*"), folder):
            path.chmod(0o777)
        data.chmod(0o555)
        with unprivileged():
            names = copy_all(data, new)
        data.chmod(0o755)
        assert {ACCOUNTS, SESSIONS} <= {*names}
        with contextlib.closing(sqlite3.connect(new / ACCOUNTS)) as accounts:
            assert accounts.execute("SELECT name FROM accounts").fetchall() == [("ann",)]


async def test_an_interrupted_restore_is_finished_by_the_next_start(tmp_path: Path) -> None:
    """At whichever step it was: the folder holds all that is old, or all that is new."""
    _, ann = await some_backup(tmp_path)
    names = [path.name for path in ann.iterdir()]
    for moved in range(len(names) + 1):
        data = tmp_path / f"data {moved}"
        shutil.copytree(tmp_path / "copy of ann", data)
        (data / ACCOUNTS).write_bytes(b"old")
        (data / f"{ACCOUNTS}-wal").write_bytes(b"old")
        shutil.copytree(ann, data / "restoring")
        (data / "restoring" / "names.json").write_text(json.dumps(names))
        for name in names[:moved]:
            (data / "restoring" / name).replace(data / name)
        async with process(data) as site, Visitor(site.url) as visitor:
            await visitor.sign_in("ann")
        assert not (data / "restoring").exists()


async def test_a_restore_that_was_not_complete_leaves_the_old_data(tmp_path: Path) -> None:
    data, _ = await some_backup(tmp_path)
    (data / "restoring.partial").mkdir()
    (data / "restoring.partial" / ACCOUNTS).write_bytes(b"half")
    async with process(data) as site, Visitor(site.url) as visitor:
        await visitor.sign_in("ann")


async def test_nothing_starts_while_a_restore_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with data_folder.alone(data):
        code, _, err = await run("--port=0", f"--data-dir={data}")
    assert code == 1
    assert "a restore of" in err


async def test_a_backup_goes_into_a_new_folder_only(tmp_path: Path) -> None:
    data, copy = await some_backup(tmp_path)
    assert "not empty" in await refused("backup", str(copy), f"--data-dir={data}")
    inside = await refused("backup", str(data / "copy"), f"--data-dir={data}")
    assert "outside of it" in inside
    nowhere = await refused("backup", str(tmp_path / "new"), f"--data-dir={tmp_path / 'none'}")
    assert "there is no data folder" in nowhere
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    await backup(data, tmp_path / "empty")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    await backup(data, tmp_path / "link")
    assert contents(tmp_path / "target").keys() == contents(copy).keys()


async def test_a_damaged_database_is_not_copied(tmp_path: Path) -> None:
    """The folder of the backup does not appear."""
    data, _ = await some_backup(tmp_path)
    spoil(data)
    await refused("backup", str(tmp_path / "new"), f"--data-dir={data}")
    assert sorted(path.name for path in tmp_path.iterdir() if "new" in path.name) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["backup"], "folder"),
        (["restore"], "folder"),
        (["backup", "a", "b"], "b"),
        (["backup", "a", "--nonsense"], "--nonsense"),
        (["backup", "a", "--replace"], "--replace"),
        (["restore", "a", "--store=nonsense"], "--store"),
    ],
)
async def test_a_wrong_call_exits_2(words: list[str], said: str) -> None:
    code, out, err = await run(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


async def test_a_backup_says_that_sessions_in_memory_are_missing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret_key").write_text("k" * 40)
    said = await backup(tmp_path / "data", tmp_path / "copy", "--store=memory")
    assert "in the memory of the process" in said


async def test_files_that_root_restores_belong_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    _, copy = await some_backup(tmp_path)
    new = tmp_path / "new"
    new.mkdir()
    os.chown(new, 12345, 12345)
    await restore(new, copy)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in new.iterdir()} == {(12345, 12345)}
