"""An id for each account, and the identities that accounts have at other issuers.

The name becomes the id of the accounts that exist, because the sessions of these, and the rows in
which forks have stored `session.user`, hold the name.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# A release without ids adds rows too, during a rolling restart: they get an id of the database.
_SQLITE = (
    "CREATE TABLE accounts_with_ids ("
    "key TEXT NOT NULL, name TEXT NOT NULL, password_hash TEXT NOT NULL, created DOUBLE NOT NULL, "
    "id TEXT DEFAULT ('u:' || lower(hex(randomblob(16)))) NOT NULL, "
    "announced BOOLEAN DEFAULT 0 NOT NULL, "
    "PRIMARY KEY (key), CONSTRAINT accounts_id_key UNIQUE (id))",
    "INSERT INTO accounts_with_ids SELECT key, name, password_hash, created, name, 1 FROM accounts",
    "DROP TABLE accounts",
    "ALTER TABLE accounts_with_ids RENAME TO accounts",
)
_POSTGRESQL = (
    "ALTER TABLE accounts ADD COLUMN id TEXT, ADD COLUMN announced BOOLEAN",
    "UPDATE accounts SET id = name, announced = true",
    "ALTER TABLE accounts "
    "ALTER COLUMN id SET DEFAULT ('u:' || replace(gen_random_uuid()::text, '-', '')), "
    "ALTER COLUMN id SET NOT NULL, "
    "ALTER COLUMN announced SET DEFAULT false, "
    "ALTER COLUMN announced SET NOT NULL, "
    "ADD CONSTRAINT accounts_id_key UNIQUE (id)",
)


def upgrade() -> None:
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    if "id" not in {column["name"] for column in inspector.get_columns("accounts")}:
        for statement in _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL:
            connection.exec_driver_sql(statement)
    if not inspector.has_table("identities"):
        op.create_table(
            "identities",
            sa.Column("issuer", sa.Text, primary_key=True),
            sa.Column("subject", sa.Text, primary_key=True),
            sa.Column("account_id", sa.Text, nullable=False),
        )
        op.create_index("identities_by_account", "identities", ["account_id"])


def downgrade() -> None:
    """Leave all of it: ids never return, and the release before works with these columns."""
