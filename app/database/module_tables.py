"""What the database has of one module: its tables, their columns and their revision."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine.reflection import ObjectKind

from app.database.revisions import Revisions
from app.database.schema import Schema, SchemaError


class ModuleTables:
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

    def state(self) -> dict[str, object]:
        """Return the revision of the tables for a script; None if they have none.

        `newer` says whether only a newer release knows it, and `head` is the newest one here.
        """
        revisions = self.revisions
        return {
            "revision": ", ".join(sorted(self.stamped)) or None,
            "head": revisions.head if revisions else None,
            "newer": revisions is not None and bool(self.stamped - revisions.known),
        }

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
