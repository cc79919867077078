"""The tables of accounts, and the check that it can be written."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import ColumnElement

from app.accounts.account import new_account_id
from app.database import Schema, sqlite
from app.database.errors import DatabaseUnusable, reason
from app.settings import Settings
from app.stores.sqlite import health


class RandomId(ColumnElement[str]):
    """An id that the database makes, for rows of a release that knew no ids.

    That release may run beside this one during a rolling restart, or again after it.
    """

    inherit_cache = True


@compiles(RandomId, "sqlite")
def _in_sqlite(element: RandomId, compiler: Any, **options: Any) -> str:
    return "('u:' || lower(hex(randomblob(16))))"


@compiles(RandomId, "postgresql")
def _in_postgresql(element: RandomId, compiler: Any, **options: Any) -> str:
    return "('u:' || replace(gen_random_uuid()::text, '-', ''))"


_metadata = sa.MetaData()
accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("key", sa.Text, primary_key=True),  # what all spellings of the name share
    sa.Column("name", sa.Text, nullable=False),
    # empty for an account that signs in another way
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("id", sa.Text, nullable=False, default=new_account_id, server_default=RandomId()),
    # whether `on_account_created` has run
    sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("id", name="accounts_id_key"),
)
identities = sa.Table(
    "identities",
    _metadata,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Index("identities_by_account", "account_id"),
)
#: The tables and their migrations. A new database gets the tables as above, without running these;
#: a test compares both.
SCHEMA = Schema(
    name="app.accounts",
    metadata=_metadata,
    migrations=Path(__file__).resolve().parent / "migrations",
    starts_at_head=True,
)


def check(engine: sa.Engine, settings: Settings) -> None:
    """Check that the database can be written and read; raises SQLAlchemyError."""
    if engine.dialect.name == "sqlite":
        _check_sqlite(engine, settings.data_dir / sqlite.FILE)
    else:
        _check_row(engine)


def _check_row(engine: sa.Engine) -> None:
    """Add, read and remove a row; this fails on a standby and with a full disk."""
    # no account's key begins with a space
    key = f" check {secrets.token_hex(8)}"
    row = {"key": key, "name": key, "password_hash": "", "created": 0.0}
    mine = accounts.c.key == key
    with engine.begin() as connection:
        connection.execute(sa.insert(accounts), row)
        connection.execute(sa.select(accounts.c.key).where(mine)).one()
        connection.execute(sa.delete(accounts).where(mine))


def _check_sqlite(engine: sa.Engine, path: Path) -> None:
    with engine.connect() as connection:
        sqlite.without_transactions(connection)
        connection.execute(sa.select(accounts.c.key).limit(1)).first()
        page_size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        log = health.Check(path, page_size)
        for mark in log.marks():
            try:
                connection.exec_driver_sql(health.write_mark(mark))
            except OperationalError as error:
                if "locked" in reason(error):  # by another program, such as a backup, for a while
                    return
                raise
            if log.keeps(mark):
                return
    raise DatabaseUnusable(log.damage())
