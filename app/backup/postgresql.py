"""The database in PostgreSQL, dumped and restored by PostgreSQL's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.backup.errors import BackupError
from app.common.urls import without_credentials
from app.database.engine import not_opened, open_engine
from app.settings import Settings

DUMP = "accounts.pgdump"
_CONNECT_TIMEOUT = 10  # seconds
_NO_VARIABLE = "sslpassword"  # a secret that libpq reads from no variable
_REMOVE_ALL = files("app.backup").joinpath("remove_all.sql")
_QUIET = ("--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1")
_COMMITS = "all is restored but the COMMIT"  # what psql says before that
_PORTABLE = ("--no-owner", "--no-privileges")
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('latchkey'));"  # a start that would migrate waits


class RolledBack(BackupError):
    """A restore has failed, and the database is as it was."""


def dump(settings: Settings, folder: Path) -> dict[str, str]:
    """Write the dump of the whole database, as of one moment; return the revisions in it.

    Raises BackupError, or OSError if the database cannot be reached.
    """
    before = revisions(settings)
    _run("pg_dump", settings, "--format=custom", *_PORTABLE, f"--file={folder / DUMP}")
    if revisions(settings) != before:
        raise BackupError("the tables were migrated meanwhile; make the backup once more")
    return before


def check_dump(path: Path) -> None:
    """Raise BackupError unless PostgreSQL can read the table of contents of a dump."""
    _run("pg_restore", None, "--list", str(path))


def check_target(settings: Settings, *, replace: bool) -> None:
    """Raise BackupError if a process uses the database, or if it has tables and may keep them."""
    open_now, tables = _ask(settings, _USERS), _ask(settings, _TABLES)
    where = without_credentials(settings.database)
    if open_now:
        raise BackupError(
            f"{where} has {len(open_now)} connections of running processes; stop all processes of "
            "the site first, on every machine"
        )
    if tables and not replace:
        raise BackupError(
            f"{where} has {len(tables)} tables; add --replace to remove all that is in it, or name "
            "an empty --database"
        )


def restore(settings: Settings, path: Path) -> None:
    """Replace all that is in the database by a dump, in one transaction.

    Raises RolledBack, or BackupError if it is unknown whether the database was replaced.
    """
    psql = subprocess.Popen(  # noqa: S603 (arguments of our own)
        [*_command("psql", settings), *_QUIET],
        env=_environment(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert psql.stdin is not None
    why = ""
    try:
        # if the input ends before the COMMIT, psql disconnects and the server rolls back
        psql.stdin.write(f"BEGIN;\n{_LOCK}\n{_REMOVE_ALL.read_text()}".encode())
        psql.stdin.flush()
        words = (*_PORTABLE, "--clean", "--if-exists", "--file=-", str(path))
        _run("pg_restore", None, *words, stdout=psql.stdin.fileno())
        psql.stdin.write(f"\n\\echo {_COMMITS}\nCOMMIT;\n".encode())
        psql.stdin.flush()
    except BrokenPipeError:
        pass  # psql has ended, and says why
    except BackupError as error:
        why = str(error)
    said, errors = psql.communicate()
    if psql.returncode != 0 or why:
        why = _last_line(errors) or why
        kind = BackupError if _COMMITS.encode() in said else RolledBack
        raise kind(f"{without_credentials(settings.database)} could not be restored ({why})")


def revisions(settings: Settings) -> dict[str, str]:
    """Return the revisions in the database, by the table that holds each."""
    found = {}
    for table in _ask(settings, _VERSION_TABLES):
        rows = _ask(settings, f'SELECT version_num FROM "{table}"')  # noqa: S608
        if rows:
            found[table] = rows[0]
    return found


_USERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()"
)
_TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
)
_VERSION_TABLES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() "
    "AND starts_with(tablename, 'alembic_version_')"
)


def _ask(settings: Settings, query: str) -> list[Any]:
    """Return the first column of a query."""
    engine = open_engine(settings, connections=1)
    try:
        with engine.connect() as connection:
            return [row[0] for row in connection.execute(sa.text(query))]
    except SQLAlchemyError as error:
        raise not_opened(settings, error) from None
    finally:
        engine.dispose()


def _run(program: str, settings: Settings | None, *words: str, stdout: int | None = None) -> None:
    """Run a program of PostgreSQL, which connects to the database if there are `settings`."""
    command = _command(program, settings)
    done = subprocess.run(  # noqa: S603 (arguments of our own)
        [*command, *words],
        env=None if settings is None else _environment(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if stdout is None else stdout,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        reason = _last_line(done.stderr) or f"it ended with {done.returncode}"
        raise BackupError(f"{program} failed ({reason})")


def _command(program: str, settings: Settings | None) -> list[str]:
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"there is no program {program}; install PostgreSQL's client programs, of the "
            "server's version or a newer one (apt-get install postgresql-client)"
        )
    return [path] if settings is None else [path, "--no-password", *_other_parameters(settings)]


def _environment(settings: Settings) -> dict[str, str]:
    """Return the variables that tell libpq where the database is.

    All users of the machine see the arguments of a process, and its own user the environment.
    """
    variables = {"PGCONNECT_TIMEOUT": str(_CONNECT_TIMEOUT)}
    names = _variables()
    for name, value in _parameters(settings).items():
        if name in names:
            variables[names[name]] = str(value)
    return {**os.environ, **variables}


def _other_parameters(settings: Settings) -> list[str]:
    """Return the argument with the parameters that have no variable, such as keepalives."""
    names = _variables()
    others = {key: value for key, value in _parameters(settings).items() if key not in names}
    if _NO_VARIABLE in others:
        raise BackupError(
            f"{_NO_VARIABLE} in --database cannot be passed on; use a key without a password"
        )
    conninfo = import_module("psycopg.conninfo")
    return [f"--dbname={conninfo.make_conninfo(**others)}"] if others else []


def _parameters(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = import_module("psycopg.conninfo").conninfo_to_dict(settings.database)
    return found


def _variables() -> dict[str, str]:
    """Return the variables of libpq by the parameters that they set."""
    options = import_module("psycopg.pq").Conninfo.get_defaults()
    return {each.keyword.decode(): each.envvar.decode() for each in options if each.envvar}


def _last_line(errors: bytes) -> str:
    """Return what a program said last, on one line."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return next((line for line in reversed(lines) if "error" in line.lower()), "".join(lines[-1:]))
