"""Backups and restores that are killed, or run out of disk, leave nothing that looks whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.backup.place import dated
from app.backup.restore import FILLED
from app.ops import data_folder
from app.stores.redis import open_store
from app.stores.sqlite import rows
from tests.support.machines import Machine, programs
from tests.support.paths import ROOT
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(90)
SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
BOTH = pytest.mark.parametrize("kind", ["postgresql and redis"])


async def with_ann(machine: Machine, name: str = "ann") -> None:
    """Make an account and stop the server."""
    async with machine.serve() as site, Visitor(site.url) as visitor:
        await visitor.sign_up(name)
        await site.stop()


@contextlib.asynccontextmanager
async def killed_once(
    machine: Machine, seen: Path, command: str, folder: Path, *flags: str
) -> AsyncIterator[None]:
    """Start a command, and kill it as soon as the path `seen` exists."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", *machine.words(command, folder, *flags)),
        cwd=ROOT,
        env={**os.environ, **machine.environ()},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: seen.exists() or child.returncode is not None)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


def hanging(tmp_path: Path, name: str, before: str) -> str:
    """Return a folder with a program that runs `before` and hangs; its pid is in `hangs`."""
    return programs(
        tmp_path,
        {
            name: f"{before}\necho $$ >{tmp_path}/pid; mv {tmp_path}/pid "
            f"{tmp_path}/hangs; exec sleep 300"
        },
    )


def end_hanging(tmp_path: Path) -> None:
    os.kill(int((tmp_path / "hangs").read_text()), signal.SIGKILL)
    (tmp_path / "hangs").unlink()


@SQLITE
async def test_a_killed_backup_is_not_seen_as_one(tmp_path: Path, machines: Any) -> None:
    """The next one removes what it has left."""
    machine, copies = machines("old"), tmp_path / "copies"
    await with_ann(machine)
    (machine.data / "large").write_bytes(bytes(50_000_000))
    copies.mkdir()
    (copies / ".2026-11-29T020000Z.partial").mkdir()
    async with killed_once(machine, copies / ".new.partial", "backup", copies / "new"):
        pass
    if (copies / "new").exists():  # it was faster
        await machine.does("verify", copies / "new")
    for _ in range(3):
        # a backup is named by its second
        await until(lambda: not dated(copies).exists())
        await machine.does("backup", copies, "--keep=1")
        names = sorted(path.name for path in copies.iterdir() if path.name != "new")
        assert len(names) == 1
        await machine.does("verify", copies / names[0])


@BOTH
async def test_a_backup_killed_during_the_dump_is_not_seen_as_one(
    tmp_path: Path, machines: Any
) -> None:
    machine, copies = machines("old"), tmp_path / "copies"
    await with_ann(machine)
    machine.path = hanging(tmp_path, "pg_dump", "")
    async with killed_once(machine, tmp_path / "hangs", "backup", copies, "--keep=3"):
        (partial,) = copies.iterdir()
        assert partial.name.endswith(".partial")
    end_hanging(tmp_path)
    assert not (machine.data / "last_backup").exists()
    machine.path = ""
    await machine.does("backup", copies, "--keep=3")
    assert [path.name.endswith("Z") for path in copies.iterdir()] == [True]
    assert (machine.data / "last_backup").exists()


@BOTH
async def test_a_killed_restore_starts_nothing_until_it_is_repeated(
    tmp_path: Path, machines: Any
) -> None:
    """PostgreSQL goes back to what it had; the second restore needs no --replace."""
    old, new, copy = machines("old"), machines("new"), tmp_path / "copy"
    await with_ann(old)
    await old.does("backup", copy)
    new.path = hanging(
        tmp_path,
        "pg_restore",
        'case "$*" in *--list*) exec "$real" "$@";; esac\n"$real" "$@" | head -c 4000',
    )
    async with killed_once(new, tmp_path / "hangs", "restore", copy):
        pass
    end_hanging(tmp_path)
    new.path = ""
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    await until(lambda: new.run(tables) == [(0,)])
    with pytest.raises(AssertionError):
        async with new.serve():
            pass
    assert "was interrupted; run python -m app restore once more" in await new.refuses(
        "backup", tmp_path / "other"
    )
    await new.does("restore", copy)
    async with new.serve() as site, Visitor(site.url) as ann:
        await ann.sign_in("ann")


@BOTH
async def test_a_restore_that_was_killed_while_it_filled_redis_fills_the_rest(
    tmp_path: Path, machines: Any
) -> None:
    """The sessions that it had put there are not taken for newer ones."""
    old, new, copy = machines("old"), machines("new"), tmp_path / "copy"
    async with old.serve() as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        cookies = [ann.cookie, bob.cookie]
        await old.does("backup", copy)
    data_folder.begin_restore(new.data, FILLED)
    with contextlib.closing(sqlite3.connect(copy / "sessions.sqlite3")) as file:
        (row,) = file.execute(rows.SCAN_FIRST, (1,)).fetchall()
    store = open_store(new.redis.url)
    await store.save(rows.to_record(row))
    await store.close()
    await new.does("restore", copy)
    async with new.serve() as site:
        for cookie in cookies:
            async with Visitor(site.url, Cookie=cookie) as visitor:
                assert (await visitor.get("/account"))[0] == 200


@BOTH
async def test_a_restore_that_postgresql_refuses_changes_nothing(
    tmp_path: Path, machines: Any
) -> None:
    """The site starts as before."""
    old, new, copy = machines("old"), machines("new"), tmp_path / "copy"
    await with_ann(old)
    await with_ann(new, "bob")
    await old.does("backup", copy)
    for script in ('"$real" "$@"; echo "SELECT 1 / 0;"', '"$real" "$@" | head -c 9000; exit 1'):
        listing = 'case "$*" in *--list*) exec "$real" "$@";; esac'
        new.path = programs(tmp_path, {"pg_restore": f"{listing}\n{script}"})
        assert "could not be restored" in await new.refuses("restore", copy, "--replace")
    async with new.serve() as site, Visitor(site.url) as bob:
        await bob.sign_in("bob")


def contents(folder: Path) -> dict[Path, bytes]:
    """Return all files but those of SQLite beside a database."""
    return {
        path: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.endswith(("-shm", "-wal"))
    }


@SQLITE
async def test_a_full_disk_fails_a_backup_and_a_restore(tmp_path: Path, machines: Any) -> None:
    """With one sentence and exit code 1; nothing is changed."""
    old, new = machines("old"), machines("new")
    await with_ann(old)
    await old.does("backup", tmp_path / "whole")
    last = (old.data / "last_backup").read_text()
    await with_ann(new, "bob")
    for machine, words in (
        (old, ("backup", tmp_path / "copy")),
        (new, ("restore", tmp_path / "whole", "--replace")),
    ):
        before = contents(machine.data)
        done = subprocess.run(
            # files may have 20 kB, less than the databases
            [
                "sh",
                "-c",
                'ulimit -f 40; exec "$@"',
                "sh",
                sys.executable,
                "-m",
                "app",
                *machine.words(*words),
            ],
            cwd=ROOT,
            env={**os.environ, **machine.environ()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"latchkey: {words[0]} failed: ")
        assert done.stderr.count("\n") == 1
        assert contents(machine.data) == before
    assert not [path for path in tmp_path.iterdir() if "copy" in path.name]
    assert (old.data / "last_backup").read_text() == last
    async with new.serve() as site, Visitor(site.url) as bob:
        await bob.sign_in("bob")
