"""A machine with a data folder, PostgreSQL and Redis, and the commands of backups on it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sqlite3
from pathlib import Path
from typing import Any

from tests.support.postgres import Postgres, program
from tests.support.process import process, run
from tests.support.redis_server import RedisServer


@dataclasses.dataclass
class Machine:
    """A data folder, a database of PostgreSQL and a Redis; the latter are unused on SQLite."""

    data: Path
    flags: tuple[str, ...]
    postgres: Postgres
    database: str = ""
    redis: RedisServer | None = None
    path: str = ""  # where programs are looked for first

    @property
    def copies(self) -> Path:
        """The folder of its backups."""
        return self.data.parent / "backups"

    async def call(self, command: str, folder: Path, *flags: str) -> tuple[int, str, str]:
        return await run(*self.words(command, folder, *flags), **self.environ())

    def words(self, command: str, folder: Path, *flags: str) -> tuple[str, ...]:
        """Return the arguments of a command."""
        if command == "verify":
            return (command, str(folder), *flags)
        return (command, str(folder), *flags, f"--data-dir={self.data}", *self.flags)

    def environ(self) -> dict[str, str]:
        """Return the variables of its processes."""
        path = (self.path, str(Path(program("pg_dump")).parent), os.environ["PATH"])
        return {"PATH": os.pathsep.join(filter(None, path)), **self.settings()}

    def settings(self) -> dict[str, str]:
        """Return its settings as variables; a shared site has a file of keys of its own."""
        keys = self.data.parent / "keys" / "secret_keys"
        return {"LATCHKEY_SECRET_KEY_FILE": str(keys)} if self.redis else {}

    async def does(self, command: str, folder: Path, *flags: str) -> str:
        code, out, err = await self.call(command, folder, *flags)
        assert (code, err) == (0, "")
        return out

    async def refuses(self, command: str, folder: Path, *flags: str) -> str:
        code, out, err = await self.call(command, folder, *flags)
        assert (code, out) == (1, ""), err
        assert err.count("\n") == 1
        return err

    def serve(self) -> Any:
        environ: dict[str, Any] = {**self.settings()}
        return process(self.data, *self.flags, **environ)

    def run(self, statement: str) -> list[Any]:
        """Run a statement on the database of the accounts."""
        if self.database:
            return self.postgres.run(statement, self.database)
        accounts = sqlite3.connect(self.data / "accounts.sqlite3", isolation_level=None)
        with contextlib.closing(accounts) as connection:
            return connection.execute(statement).fetchall()


def programs(folder: Path, scripts: dict[str, str]) -> str:
    """Return a folder with shell scripts that stand in for programs of PostgreSQL.

    Each has the path of the program that it replaces as `$real`.
    """
    made = folder / "programs"
    made.mkdir(exist_ok=True)
    for name, script in scripts.items():
        (made / name).write_text(f"#!/bin/sh\nreal={program(name)}\n{script}\n")
        (made / name).chmod(0o755)
    return str(made)
