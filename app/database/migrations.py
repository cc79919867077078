"""The tables of all modules are made or migrated when a process starts.

A start first compares, with a few small queries. Only if something is missing does it take the
lock that one process at a time gets, compare again, and change the tables in one transaction.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from traceback import walk_tb
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind
from sqlalchemy.exc import DBAPIError, NoReferencedTableError, SQLAlchemyError

from app.database import sqlite
from app.database.errors import is_lost_connection, reason
from app.database.revisions import Revisions, read_revisions
from app.database.schema import Schema, SchemaError, check_schemas

log = logging.getLogger("latchkey.database")
T = TypeVar("T")

_POSTGRESQL_LOCK = "latchkey"  # name of the lock that one migrating process has
_POLL_INTERVAL = 0.1  # seconds between two tries to get it
_TABLE_LOCK_TIMEOUT = 10_000  # milliseconds that a migration waits for transactions of others


def migrate(engine: sa.Engine, schemas: Sequence[Schema]) -> None:
    """Bring the tables of all modules to their newest state, or change nothing.

    Raises SchemaError with a sentence that says what to do, or SQLAlchemyError if the database
    cannot be used.
    """
    check_schemas(schemas)
    revisions = _revisions(schemas)
    with engine.connect() as connection:
        states = [_State(connection, *each) for each in revisions.items()]
        behind = [state for state in states if not state.is_current()]
    if behind:
        with exclusive(engine) as connection:
            make_or_migrate(connection, schemas)


def make_or_migrate(connection: sa.Connection, schemas: Sequence[Schema]) -> None:
    """Bring the tables of all modules to their newest state, in the connection's transaction."""
    for schema, revisions in _revisions(schemas).items():
        _bring_to_head(_State(connection, schema, revisions))


def _revisions(schemas: Sequence[Schema]) -> dict[Schema, Revisions | None]:
    return {
        schema: read_revisions(schema.migrations) if schema.migrations else None
        for schema in schemas
    }


def pending(engine: sa.Engine, schemas: Sequence[Schema]) -> list[str]:
    """Return the names of the modules whose tables the next start makes or migrates.

    Raises SchemaError if it cannot, and SQLAlchemyError if the database cannot be used.
    """
    check_schemas(schemas)
    with engine.connect() as connection:
        return [
            schema.name
            for schema, revisions in _revisions(schemas).items()
            if not _State(connection, schema, revisions).is_current()
        ]


def status(engine: sa.Engine, schemas: Sequence[Schema]) -> list[tuple[str, str]]:
    """Return the name of each module with tables, and a few words about them."""
    with engine.connect() as connection:
        return [
            (schema.name, _State(connection, schema, revisions).describe())
            for schema, revisions in _revisions(schemas).items()
        ]


def downgrade(engine: sa.Engine, schema: Schema, revision: str) -> None:
    """Run the migrations of a module backwards, down to a revision or to "base"."""
    known = read_revisions(schema.migrations).known if schema.migrations else frozenset()
    if revision not in {"base", *known}:
        raise SchemaError(
            f"{schema.name} has no revision {revision}; it has {', '.join(sorted(known)) or 'none'}"
        )
    with exclusive(engine) as connection:
        run_scripts(schema, lambda alembic: alembic.downgrade(connection, schema, revision))


class _State:
    """What the database has of one module."""

    def __init__(
        self, connection: sa.Connection, schema: Schema, revisions: Revisions | None
    ) -> None:
        self.connection = connection
        self.schema = schema
        self.revisions = revisions
        names = set(sa.inspect(connection).get_table_names())
        self.missing = [table for name, table in schema.tables.items() if name not in names]
        self.has_tables = len(self.missing) < len(schema.tables)
        self.has_versions = schema.version_table in names
        self.stamped = self._stamped()

    def is_current(self) -> bool:
        """Whether nothing is to be done; raises SchemaError if nothing can be done."""
        if self.revisions is None:
            if self.has_versions:
                raise SchemaError(
                    f"{self.schema.name}: its tables were made by migrations, and the folder of "
                    "these is missing; put it back"
                )
            self.check_columns(self.schema.tables.keys() - {table.name for table in self.missing})
            return not self.missing
        unknown = self.stamped - self.revisions.known
        if unknown:
            raise SchemaError(
                f"{self.schema.name}: the database has revision {', '.join(sorted(unknown))}, "
                f"which {self.schema.migrations} does not have, so a newer release has migrated "
                "it; start that release, or go back with its python -m app.database downgrade "
                f"{self.schema.name} {self.revisions.head}, or restore a backup"
            )
        if self.stamped == {self.revisions.head}:
            self.check_columns()  # the metadata may have a column that no script adds
            return True
        return self._is_closed_but_fits()

    def describe(self) -> str:
        """Say in a few words how the tables in the database are."""
        if self.revisions is None:
            return "no migrations" + (", tables are missing" if self.missing else "")
        head, stamped = self.revisions.head, ", ".join(sorted(self.stamped))
        if self.stamped == {head}:
            return f"{head}, the newest"
        if self.stamped - self.revisions.known:
            return f"{stamped}, of a newer release; the newest one here is {head}"
        if not stamped:
            return f"{'without a revision' if self.has_tables else 'not made'}; newest: {head}"
        return f"{stamped}; newest: {head}"

    def check_columns(self, tables: Collection[str] | None = None) -> None:
        """Raise SchemaError if a table or a column of the metadata is not in the database.

        `tables` are those to look at; None: all of the module. It is one query on PostgreSQL.
        """
        names = list(self.schema.tables if tables is None else tables)
        found = self._columns(names) if names else {}
        for name in names:
            if name not in found:
                raise SchemaError(self._lacks(f"the database has no table {name}"))
            for column in self.schema.tables[name].columns:
                if column.name not in found[name]:
                    raise SchemaError(
                        self._lacks(f"table {name} of the database has no column {column.name}")
                    )

    def _lacks(self, what: str) -> str:
        return (
            f"{self.schema.name}: {what}; make a revision that adds it "
            f"(python -m app.database revision {self.schema.name} -m MESSAGE)"
        )

    def _columns(self, tables: list[str]) -> dict[str, set[str]]:
        """Return the names of the columns of these tables or views, by table."""
        found = sa.inspect(self.connection).get_multi_columns(
            filter_names=tables, kind=ObjectKind.ANY
        )
        return {name: {column["name"] for column in found[_, name]} for _, name in found}

    def _stamped(self) -> set[str]:
        """Return the revisions that the version table has; none if it may not be read."""
        if not self.has_versions or not self._may("SELECT"):
            return set()
        version = version_table(self.schema).c.version_num
        return set(self.connection.execute(sa.select(version)).scalars())

    def _is_closed_but_fits(self) -> bool:
        """Whether the user of the database may migrate nothing, and nothing has to be."""
        if self._may("INSERT"):
            return False
        try:
            self.check_columns()
        except SchemaError:
            return False
        return True

    def _may(self, right: str) -> bool:
        """Whether the user of the database has a right on the version table, or may make it."""
        if self.connection.dialect.name != "postgresql":
            return True
        if self.has_versions:
            ask = sa.func.has_table_privilege(self.schema.version_table, right)
        else:
            ask = sa.func.has_schema_privilege(sa.func.current_schema(), "CREATE")
        return bool(self.connection.execute(sa.select(ask)).scalar())


def version_table(schema: Schema) -> sa.Table:
    """Return the version table of a module, as Alembic makes it."""
    name = schema.version_table
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("version_num", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
    )


def _bring_to_head(state: _State) -> None:
    if state.is_current():
        return
    schema, connection, revisions = state.schema, state.connection, state.revisions
    if revisions is None:
        _make(connection, schema, state.missing)
    elif schema.starts_at_head and not state.stamped and not state.has_tables:
        _make(connection, schema, state.missing)
        _stamp(state, revisions.head)
    else:
        if not state.stamped and state.has_tables:
            # an older release, or this module before it had migrations, has made the tables
            log.info("%s: its tables are those of revision %s", schema.name, revisions.base)
            _stamp(state, revisions.base)
        run_scripts(schema, lambda alembic: alembic.upgrade(connection, schema, "head"))
        _State(connection, schema, revisions).check_columns()


def _make(connection: sa.Connection, schema: Schema, tables: list[sa.Table]) -> None:
    """Make tables from the metadata."""
    try:
        schema.metadata.create_all(connection, tables=tables, checkfirst=False)
    except NoReferencedTableError as error:
        raise SchemaError(
            f"{schema.name}: {reason(error)}; refer to a table of another module by its column, "
            "such as sa.ForeignKey(accounts_table.c.id) with accounts_table of app.accounts"
        ) from error
    except SQLAlchemyError as error:
        if isinstance(error, DBAPIError):
            raise
        raise SchemaError(
            f"{schema.name}: its tables cannot be made ({reason(error)}); correct its metadata"
        ) from error


def _stamp(state: _State, revision: str) -> None:
    table = version_table(state.schema)
    table.create(state.connection, checkfirst=True)
    state.connection.execute(sa.insert(table), {"version_num": revision})


def run_scripts(schema: Schema, work: Callable[[Any], T]) -> T:
    """Give Alembic's commands to a function, and return its result.

    An error of a script becomes a SchemaError that names its file.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # one line a step is enough
    # it takes a quarter of a second to import, and most starts have nothing to migrate
    alembic = importlib.import_module("app.database.alembic_commands")
    try:
        return work(alembic)
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and is_lost_connection(error):
            raise
        path = next(
            (
                frame.f_code.co_filename
                for frame, _ in reversed(list(walk_tb(error.__traceback__)))
                if frame.f_code.co_filename.startswith(f"{schema.migrations}/")
            ),
            schema.migrations,
        )
        log.error("a migration of %s failed", schema.name, exc_info=error)
        raise SchemaError(
            f"{path} failed ({reason(error) or type(error).__name__}); the database is as it was "
            "before. Correct the file, or start the release before"
        ) from error


@contextlib.contextmanager
def exclusive(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open the transaction that one process at a time gets, and commit it at the end.

    It waits for the process that has it now. The connection has no time limits, and an SQLite
    file checks foreign keys at the end, because a migration may replace a table that others
    refer to. The connection is closed afterwards.
    """
    with engine.connect() as connection:
        opened = _exclusive_sqlite if engine.dialect.name == "sqlite" else _exclusive_postgresql
        with opened(connection):
            yield connection


@contextlib.contextmanager
def _exclusive_sqlite(connection: sa.Connection) -> Iterator[None]:
    sqlite.begin_migration(connection)
    with connection.begin():
        yield
        sqlite.check_foreign_keys(connection)


@contextlib.contextmanager
def _exclusive_postgresql(connection: sa.Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    driver.answer_timeout = None
    connection.detach()
    with connection.begin():
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(sa.func.hashtext(_POSTGRESQL_LOCK)))
        if not connection.execute(lock).scalar():
            log.info("waiting for another process to make or migrate the tables")
            while not connection.execute(lock).scalar():
                time.sleep(_POLL_INTERVAL)
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_TABLE_LOCK_TIMEOUT:d}")
        yield
