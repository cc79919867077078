"""The tables of accounts, and the check that their database can be written."""

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
from app.stores.sqlite import log_check


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
    sa.Column("disabled", sa.Double),  # seconds since 1970; NULL: it may sign in
    sa.Column("email", sa.Text),  # an address that its user has confirmed
    sa.UniqueConstraint("id", name="accounts_id_key"),
    sa.Index("accounts_by_email", "email"),
)
identities = sa.Table(
    "identities",
    _metadata,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Index("identities_by_account", "account_id"),
)
roles = sa.Table(
    "account_roles",
    _metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Index("account_roles_by_role", "role"),
)
one_time_links = sa.Table(
    "one_time_links",
    _metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),  # of what stands in the link
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),  # "reset" or "email"
    sa.Column("email", sa.Text),  # the address to confirm
    sa.Column("state", sa.Text, nullable=False),  # digest of what must not change meanwhile
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970
    sa.Index("one_time_links_by_account", "account_id"),
    sa.Index("one_time_links_by_expiry", "expires"),
)
recovery_codes = sa.Table(
    "recovery_codes",
    _metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("code_hash", sa.Text, primary_key=True),
    sa.Column("salt", sa.Text, nullable=False),  # the same for all codes of one list
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("used", sa.Double),  # seconds since 1970; NULL: not yet
)
totp = sa.Table(
    "totp",
    _metadata,
    sa.Column("account_id", sa.Text, primary_key=True),
    sa.Column("secret", sa.Text, nullable=False),  # base32
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("confirmed", sa.Double),  # seconds since 1970; NULL: not yet in force
    sa.Column("last_step", sa.BigInteger, nullable=False),  # codes up to this one are refused
)
trusted_devices = sa.Table(
    "trusted_devices",
    _metadata,
    sa.Column("token_hash", sa.Text, primary_key=True),  # of what the device's cookie holds
    sa.Column("account_id", sa.Text, nullable=False),
    sa.Column("password_state", sa.Text, nullable=False),  # digest of the password's hash then
    sa.Column("user_agent", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970
    sa.Index("trusted_devices_by_account", "account_id"),
    sa.Index("trusted_devices_by_expiry", "expires"),
)
audit_events = sa.Table(
    "audit_events",
    _metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("time", sa.Double, nullable=False),  # seconds since 1970
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("account_id", sa.Text),  # whose account it is about
    sa.Column("user", sa.Text),  # the name of that account then
    sa.Column("actor", sa.Text),  # the name of who did it, if not the user: an operator
    sa.Column("actor_id", sa.Text),  # their account id; NULL for the command line
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Index("audit_events_by_account", "account_id", "time"),
    sa.Index("audit_events_by_time", "time"),
)
#: Tables whose rows are deleted with their account. The audit log is kept for its own time.
OF_ACCOUNT = (identities, roles, one_time_links, recovery_codes, totp, trusted_devices)
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
        log = log_check.LogCheck(path, page_size)
        for mark in log.marks():
            try:
                connection.exec_driver_sql(log_check.write_mark(mark))
                if log.keeps(mark) or _keeps_mark_of_another(connection, log, mark):
                    return
            except OperationalError as error:
                if "locked" in reason(error):  # by another program, such as a backup, for a while
                    return
                raise
    raise DatabaseUnusable(log.damage())


def _keeps_mark_of_another(connection: sa.Connection, log: log_check.LogCheck, mark: int) -> bool:
    """Whether another process has overwritten our mark, and the log keeps its mark."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # no process writes a mark during the look
    try:
        latest = connection.exec_driver_sql(log_check.READ_MARK).scalar_one()
        return bool(latest != mark) and log.keeps(latest)
    finally:
        connection.exec_driver_sql("ROLLBACK")
