"""Roles, disabled accounts, addresses, second factors, ways of recovery, and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    inspector = sa.inspect(op.get_bind())
    if "disabled" not in {column["name"] for column in inspector.get_columns("accounts")}:
        op.add_column("accounts", sa.Column("disabled", sa.Double))
        op.add_column("accounts", sa.Column("email", sa.Text))
        op.create_index("accounts_by_email", "accounts", ["email"])
    if not inspector.has_table("account_roles"):
        _create_tables()


def _create_tables() -> None:
    op.create_table(
        "account_roles",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, primary_key=True),
    )
    op.create_index("account_roles_by_role", "account_roles", ["role"])
    op.create_table(
        "one_time_links",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("email", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("one_time_links_by_account", "one_time_links", ["account_id"])
    op.create_index("one_time_links_by_expiry", "one_time_links", ["expires"])
    op.create_table(
        "recovery_codes",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("code_hash", sa.Text, primary_key=True),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("used", sa.Double),
    )
    op.create_table(
        "totp",
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("confirmed", sa.Double),
        sa.Column("last_step", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "trusted_devices",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("password_state", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double, nullable=False),
    )
    op.create_index("trusted_devices_by_account", "trusted_devices", ["account_id"])
    op.create_index("trusted_devices_by_expiry", "trusted_devices", ["expires"])
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("user", sa.Text),
        sa.Column("actor", sa.Text),
        sa.Column("actor_id", sa.Text),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("audit_events_by_account", "audit_events", ["account_id", "time"])
    op.create_index("audit_events_by_time", "audit_events", ["time"])


def downgrade() -> None:
    """Leave all of it: the release before works with these tables, and nothing is lost."""
