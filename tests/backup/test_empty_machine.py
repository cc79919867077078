"""A site is restored into an empty machine, and its users sign in and go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.copies import link_program
from tests.support.forms import PASSWORD, who
from tests.support.machines import Machine, programs
from tests.support.paths import ROOT
from tests.support.postgres import PASSWORD as DATABASE_PASSWORD
from tests.support.visitor import Visitor

BLOCKS = re.findall(
    r"```sh\n(.*?)```", (ROOT / "docs" / "backups.md").read_text(encoding="utf-8"), re.DOTALL
)
pytestmark = pytest.mark.limit(90)
POSTGRESQL = pytest.mark.parametrize("kind", ["postgresql and redis"])


async def play(machine: Machine, block: str) -> str:
    """Run a block of the page with the paths of a machine; return what it says."""
    program = machine.data.parent / "opt"
    if not program.exists():
        link_program(program)
        store, database = (flag.partition("=")[2] for flag in machine.flags or ("", ""))
        settings = {"LATCHKEY_STORE": store, "LATCHKEY_DATABASE": database, **machine.settings()}
        (program / "env").write_text(
            "".join(f"{name}='{value}'\n" for name, value in settings.items() if value)
        )
    for path, place in (
        ("/var/lib/latchkey/0", machine.data),
        ("/var/lib/latchkey/backups", machine.copies),
        ("/etc/latchkey.env", program / "env"),
        ("/opt/latchkey", program),
    ):
        block = block.replace(path, str(place))
    child = await asyncio.create_subprocess_exec(
        *("bash", "-euc", block),
        cwd=program,
        env={**os.environ, **machine.environ()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    assert (child.returncode, err) == (0, b"")
    return out.decode()


async def test_the_page_restores_a_site_with_its_users_and_sessions(
    tmp_path: Path, machines: Any
) -> None:
    """Ann's session goes on with the official client, and Bob, who has no session, signs in.

    The commands are those of docs/backups.md.
    """
    old, new = machines("old"), machines("new")
    make, check, put_back, end_orphaned = (
        block for block in BLOCKS if not block.startswith("cp /opt")
    )
    async with old.serve() as site, Visitor(site.url) as ann, Visitor(site.url) as bob:
        await ann.sign_up("ann")
        assert [await ann.incr() for _ in range(3)] == [1, 2, 3]
        await bob.sign_up("bob")
        await bob.sign_out()
        await play(old, make)
        (copy,) = old.copies.iterdir()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, old.copies)} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in copy.iterdir()} == {0o600}
    shutil.copytree(old.copies, new.copies)
    assert "is complete: " in await play(new, check)
    await play(new, put_back)
    async with (
        new.serve() as site,
        Visitor(site.url, Cookie=ann.cookie) as same,
        Visitor(site.url) as again,
    ):
        socket = await same.socket("websocket")
        assert await socket.call("incr") == 4
        await again.sign_in("bob")
        assert await again.incr() == 1
        new.run("DELETE FROM accounts WHERE name = 'bob'")
        assert await play(new, end_orphaned) == "1 session ended\n"
        assert await who(again) is None
        assert socket.client.connected


async def test_sessions_that_no_account_of_the_backup_may_have_are_ended(
    tmp_path: Path, machines: Any
) -> None:
    """Those of younger accounts, and of such as were disabled or renamed back by the restore.

    Others go on, and none of the backup returns that has ended since.
    """
    site_of, copy = machines("old"), tmp_path / "copy"
    names = ("ann", "bob", "cat", "dan")
    async with site_of.serve() as site:
        async with Visitor(site.url) as ann, Visitor(site.url) as dan:
            await ann.sign_up("ann")
            await dan.sign_up("dan")
            cookies = {"dan": dan.cookie}
            for name in ("bob", "cat"):
                async with Visitor(site.url) as visitor:
                    await visitor.sign_up(name)
                    await visitor.sign_out()
            site_of.run("UPDATE accounts SET disabled = 1 WHERE name = 'bob'")
            site_of.run("UPDATE accounts SET name = 'Cat' WHERE name = 'cat'")
            await site_of.does("backup", copy)
            site_of.run("UPDATE accounts SET disabled = NULL WHERE name = 'bob'")
            site_of.run("UPDATE accounts SET name = 'cat' WHERE name = 'Cat'")
            cookies["ann"] = ann.cookie
            await dan.sign_out()
        for name in (*names[1:3], "eve"):
            async with Visitor(site.url) as visitor:
                await (visitor.sign_up if name == "eve" else visitor.sign_in)(name)
                cookies[name] = visitor.cookie
        assert "stop" in await site_of.refuses("restore", copy, "--replace")
        await site.stop()
    if site_of.redis is None:
        # the sessions of SQLite are those of the backup, so newer ones are put into it
        with contextlib.closing(sqlite3.connect(site_of.data / "sessions.sqlite3")) as newer:
            newer.execute("VACUUM INTO ?", (str(copy / "newer"),))
        (copy / "newer").replace(copy / "sessions.sqlite3")
        (copy / "backup.json").unlink()
        said = await site_of.does("restore", copy, "--replace", "--unchecked")
    else:
        said = await site_of.does("restore", copy, "--replace")
        assert "Redis had sessions, which are newer" in said
    assert "were ended: 3" in said
    async with site_of.serve() as site:
        for name in (*names, "eve"):
            async with Visitor(site.url, Cookie=cookies[name]) as visitor:
                assert ((await visitor.get("/account"))[0] == 200) == (name == "ann"), name
        async with Visitor(site.url) as visitor:
            status, _ = await visitor.post("/login", json={"username": "eve", "password": PASSWORD})
            assert status == 401


async def test_a_restore_that_removes_data_is_asked_for(tmp_path: Path, machines: Any) -> None:
    """Without --replace a database or a data folder that is not empty stays as it is."""
    old, other, copy = machines("old"), machines("other"), tmp_path / "copy"
    for machine, name in ((old, "ann"), (other, "bob")):
        async with machine.serve() as site, Visitor(site.url) as visitor:
            await visitor.sign_up(name)
            await site.stop()
    if other.database:
        other.run("CREATE TABLE own (value integer); CREATE TYPE mood AS ENUM ('good')")
        other.run("CREATE VIEW names AS SELECT name FROM accounts")
    await old.does("backup", copy)
    assert "--replace" in await other.refuses("restore", copy)
    assert other.run("SELECT name FROM accounts") == [("bob",)]
    await other.does("restore", copy, "--replace", "--sign-out")
    assert other.run("SELECT name FROM accounts") == [("ann",)]
    if other.database:
        left = "SELECT typname FROM pg_type WHERE typname IN ('mood', 'own', 'names')"
        assert other.run(left) == []
    async with other.serve() as site, Visitor(site.url) as ann:
        await ann.sign_in("ann")
        assert await ann.incr() == 1


async def test_a_damaged_or_newer_backup_changes_nothing(tmp_path: Path, machines: Any) -> None:
    old, new, copy = machines("old"), machines("new"), tmp_path / "copy"
    async with old.serve() as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await old.does("backup", copy)
    manifest = json.loads((copy / "backup.json").read_text())
    database = copy / ("accounts.pgdump" if new.database else "accounts.sqlite3")
    whole = database.read_bytes()
    database.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for command in ("verify", "restore"):
        assert "has changed since; use another backup" in await new.refuses(command, copy)
    database.write_bytes(whole)
    (copy / "more").touch()
    assert "not part of the backup" in await new.refuses("restore", copy)
    (copy / "more").unlink()
    (copy / "secret_key").rename(tmp_path / "key")
    assert "secret_key is missing" in await new.refuses("restore", copy)
    (tmp_path / "key").rename(copy / "secret_key")
    manifest["revisions"]["alembic_version_app_accounts"] = "9999"
    (copy / "backup.json").write_text(json.dumps(manifest))
    assert "revision 9999" in await new.refuses("restore", copy)
    (copy / "backup.json").write_text("{")
    assert "is damaged" in await new.refuses("restore", copy)
    if new.database:
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
        assert new.run(tables) == [(0,)]
    assert not new.data.exists() or not list(new.data.iterdir())


@POSTGRESQL
async def test_a_password_is_in_no_argument_of_a_process(tmp_path: Path, machines: Any) -> None:
    """PostgreSQL's programs get it by their environment, which other users cannot read."""
    old, copy = machines("old"), tmp_path / "copy"
    async with old.serve() as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await site.stop()
    seen = tmp_path / "arguments"
    names = ("pg_dump", "pg_restore", "psql")
    old.path = programs(tmp_path, dict.fromkeys(names, f'echo "$0 $*" >>{seen}; exec "$real" "$@"'))
    await old.does("backup", copy)
    await old.does("restore", copy, "--replace")
    lines = seen.read_text()
    assert all(name in lines for name in names)
    assert not [
        part for part in re.split(r"\W", DATABASE_PASSWORD) if len(part) > 3 and part in lines
    ]


@POSTGRESQL
async def test_a_database_that_a_process_elsewhere_uses_is_refused(
    tmp_path: Path, machines: Any
) -> None:
    """Also if that process has another Redis and another data folder."""
    old, new, copy = machines("old"), machines("new"), tmp_path / "copy"
    async with old.serve() as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await old.does("backup", copy)
        new.flags = (new.flags[0], old.flags[1])
        assert "connections of running processes" in await new.refuses("restore", copy, "--replace")
        assert await ann.incr() == 1
