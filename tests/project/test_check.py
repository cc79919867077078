"""--check: whether the program could start, found out without starting it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.ports import free_port
from tests.support.process import process, run
from tests.support.visitor import Visitor


async def check(*flags: str) -> tuple[int, dict[str, str]]:
    """Return the exit code, and what is said about each subject."""
    code, out, _ = await run("--check", *flags, program="tests.support.demo")
    lines = [line.split(maxsplit=2) for line in out.splitlines()]
    return code, {what: f"{state} {words}" for state, what, words in lines}


async def test_it_checks_an_empty_place_and_makes_nothing(tmp_path: Path) -> None:
    """A first start would make the folder, a key and both databases."""
    code, said = await check(f"--data-dir={tmp_path}/data", f"--port={free_port()}")
    assert code == 0
    assert {words.partition(" ")[0] for words in said.values()} == {"ok"}
    for what in ("data", "sessions", "database"):
        assert said[what].endswith(" will be made"), said
    assert said["keys"] == f"ok one will be made in {tmp_path}/data/secret_key"
    assert list(tmp_path.iterdir()) == []


async def test_it_checks_beside_the_running_program(tmp_path: Path) -> None:
    """Its port is in use, which is no fault, and its sessions and sockets go on."""
    data = tmp_path / "data"
    async with process(data) as running, Visitor(running.url) as ann:
        await ann.sign_up("ann")
        socket = await ann.socket("websocket")
        before = sorted(path.name for path in data.iterdir())
        port = running.url.rpartition(":")[2]
        code, said = await check(f"--data-dir={data}", f"--port={port}")
        assert code == 0, said
        assert said["listen"].startswith(f"note 127.0.0.1 port {port}: Address already in use")
        assert said["sessions"] == f"ok {data}/sessions.sqlite3: 1 sessions"
        assert said["database"] == f"ok {data}/accounts.sqlite3: no migration is pending"
        assert sorted(path.name for path in data.iterdir()) == before
        assert await socket.call("incr") == 1
        assert await ann.incr() == 2
        await socket.close()


async def test_it_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    """Everything that can be looked at is looked at; a fault makes it exit with 1."""
    (tmp_path / "secret_key").write_text("short\n")
    (tmp_path / "sessions.sqlite3").write_bytes(b"x" * 5000)
    (tmp_path / "accounts.sqlite3").write_bytes(b"x" * 5000)
    code, said = await check(f"--data-dir={tmp_path}", "--unix-socket=/nowhere/x.sock")
    assert code == 1
    assert "/nowhere is not there" in said["listen"]
    assert said["keys"].startswith("failed ")
    assert "holds no signing key" in said["keys"]
    assert "file is not a database" in said["sessions"]
    assert "could not be opened (file is not a database)" in said["database"]
    code, said = await check("--host=192.0.2.1", f"--data-dir={tmp_path}/x")
    assert code == 1
    assert "Cannot assign requested address; choose another --host" in said["listen"]
    code, said = await check("--prot=1")
    assert code == 1
    assert said["settings"] == "failed --prot is no setting; did you mean --port?"
    code, said = await check(
        *(f"--data-dir={tmp_path}/x", "--store=redis://:hunter2@127.0.0.1:1/0"),
        *("--secret-keys=" + "k" * 32, "--database=postgresql://me:hunter2@127.0.0.1:1/d"),
    )
    assert code == 1
    assert said["sessions"].startswith("failed redis://127.0.0.1:1/0 cannot be used")
    assert said["database"].startswith("failed postgresql://127.0.0.1:1/d could not be opened")
    assert "hunter2" not in str(said)


async def test_it_tells_of_pending_migrations_and_runs_none(tmp_path: Path) -> None:
    """Databases of older releases stay as they are."""
    for name, table in (
        ("sessions", "id TEXT PRIMARY KEY, data BLOB, expires REAL, seen REAL, user TEXT"),
        ("accounts", "key TEXT PRIMARY KEY, name TEXT, password_hash TEXT, created DOUBLE"),
    ):
        with sqlite3.connect(tmp_path / f"{name}.sqlite3") as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(f"CREATE TABLE {name} ({table})")
        database.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    code, said = await check(f"--data-dir={tmp_path}", f"--port={free_port()}")
    assert code == 0, said
    assert said["sessions"].startswith("note ")
    assert "a migration is pending" in said["sessions"]
    assert "migrations are pending, which the start runs: app.accounts" in said["database"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_it_tells_where_traces_go(tmp_path: Path) -> None:
    """The packages must be there; the collector need not answer."""
    tracing = "--tracing=http://user:secret@127.0.0.1:9"
    code, said = await check(f"--data-dir={tmp_path}/data", f"--port={free_port()}", tracing)
    assert (code, said["tracing"]) == (0, "ok traces go to http://127.0.0.1:9")
