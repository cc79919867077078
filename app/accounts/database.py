"""The table of accounts, and the check that it can be written."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from app.database import Schema, sqlite
from app.database.errors import DatabaseUnusable, reason
from app.settings import Settings
from app.stores.sqlite import health

_metadata = sa.MetaData()
accounts = sa.Table(
    "accounts",
    _metadata,
    sa.Column("key", sa.Text, primary_key=True),  # what all spellings of the name share
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
)
#: The table and its migrations. A new database gets the table as above, without running these;
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
    said: object = ""
    with engine.connect() as connection:
        sqlite.without_transactions(connection)
        connection.execute(sa.select(accounts.c.key).limit(1)).first()
        page_size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        for _ in range(health.ATTEMPTS):
            mark = health.new_mark()
            try:
                connection.exec_driver_sql(health.write_mark(mark))
            except OperationalError as error:
                if "locked" in reason(error):  # by another program, such as a backup, for a while
                    return
                raise
            try:
                if health.mark_after_crash(path, page_size) in (mark, None):
                    return
            except sqlite3.Error as error:
                said = error
    raise DatabaseUnusable(health.damage(path, said))
