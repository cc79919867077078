"""A PostgreSQL server that tests start, from Debian's package, and the databases in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from app.settings import Settings
from tests.support import leftovers
from tests.support.ports import free_port
from tests.support.requirements import skip

PASSWORD = "p@ss/w:rd hunter2"
# connections to a database, settings and rights of its own, schemas beside the usual one
_TRACES = """
    SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    UNION ALL SELECT 1 FROM pg_database WHERE datname = current_database() AND datacl IS NOT NULL
    UNION ALL SELECT 1 FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database()
    UNION ALL SELECT 1 FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"""
_EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC"


def program(name: str) -> str:
    """Path of one of PostgreSQL's programs; without it the test is skipped, or in CI fails."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    path = str(found[-1]) if found else shutil.which(name)
    return path or skip("no PostgreSQL: apt-get install postgresql")


class Postgres:
    """One server on a free loopback port; PostgreSQL refuses to be run by root."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where its files are to be; any user must be able to enter it."""
        self._initdb, self._postgres = program("initdb"), program("postgres")
        self.port = free_port()
        # the server's user cannot read pytest's folder
        self._folder = Path(tempfile.mkdtemp(prefix="latchkey-postgres-", dir=folder))
        self._data = self._folder / "data"
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._emptied: list[str] = []  # names of databases
        self._init()
        self.start()

    def _init(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["-E", "UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run(
            [self._initdb, "-D", self._data, "-U", "latchkey", f"--pwfile={secret}", *options],
            user=self._user,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._postgres, "-D", self._data, f"-p{self.port}", f"-k{self._folder}", *options],
                user=self._user,
                cwd=self._folder,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        leftovers.watch(self._process)
        end = time.monotonic() + 20
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError((self._folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Close all connections and end the server."""
        if self._process is not None:
            self.resume()
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """End it and its processes by SIGKILL; it can be started again on return."""
        if self._process is not None:
            pids = self._pids()
            self._signal(signal.SIGKILL)
            self._process.wait(20)
            self._process = None
            # those that still end hold the shared memory
            while any(map(_runs, pids)):
                time.sleep(0.01)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """Suspend it and its processes."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume it and its processes."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        """Return the ids of its processes; none if it has ended."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(FileNotFoundError):
            return [self._process.pid, *map(int, children.read_text().split())]
        return []

    def remove(self) -> None:
        """Stop it and remove its files."""
        self.stop()
        shutil.rmtree(self._folder)

    def url(self, database: str, user: str = "latchkey", password: str = PASSWORD) -> str:
        """Return the URL of a database, for --database."""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement; return its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def database(self, options: str = "") -> str:
        """Make an empty database and return its name."""
        self._made += 1
        name = f"latchkey_{self._made}"
        self.run(f"CREATE DATABASE {name} {options}")
        return name

    @contextlib.contextmanager
    def lent(self) -> Iterator[str]:
        """Lend an empty database and return its name; the next borrower may get the same one.

        To make one takes 0.1 s of CPU, and to remove it as much again.
        """
        name = self._emptied.pop() if self._emptied else self.database()
        yield name
        with contextlib.suppress(psycopg.OperationalError):  # the test has left no server
            if not self.run(_TRACES, name):
                self.run(_EMPTY, name)
                self._emptied.append(name)


def _runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class Place:
    """The database of one test's accounts: its settings, and direct access to its rows."""

    def __init__(self, data_dir: Path, postgres: Postgres | None, name: str = "") -> None:
        """`name` is that of an empty database of PostgreSQL; unless given, one is made."""
        self._postgres = postgres
        self._name = name or (postgres.database() if postgres else "")
        self.database = postgres.url(self._name) if postgres else "sqlite"
        self.moved(data_dir)

    def moved(self, data_dir: Path) -> Place:
        """Use another data folder."""
        self.data_dir = data_dir
        self.flags = (f"--data-dir={data_dir}", f"--database={self.database}")
        self.settings = Settings(data_dir=data_dir, database=self.database)
        return self

    def run(self, statement: str) -> list[Any]:
        """Run one statement directly on the database; return its rows."""
        if self._postgres is not None:
            return self._postgres.run(statement, self._name)
        file = self.data_dir / "accounts.sqlite3"
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
            return database.execute(statement).fetchall()

    def stored(self) -> list[tuple[str, str, str]]:
        """Return key, name and hash of every account."""
        return self.run("SELECT key, name, password_hash FROM accounts")
