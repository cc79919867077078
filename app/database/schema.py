"""The tables of one module, and the checks of all modules' tables together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

_MAX_NAME = 63  # letters of a name in PostgreSQL, which cuts off the others


class SchemaError(ValueError):
    """The tables of a module do not fit the database; the message says what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Schema:
    """The tables of a module."""

    #: Dotted name of the module.
    name: str
    metadata: sa.MetaData
    #: Folder of Alembic's scripts; None: missing tables are made from the metadata.
    migrations: Path | None = None
    #: Whether an empty database is made from the metadata, without running the scripts.
    starts_at_head: bool = False

    @property
    def version_table(self) -> str:
        """The table that holds the revision of this module's tables."""
        return "alembic_version_" + self.name.replace(".", "_")

    @property
    def tables(self) -> dict[str, sa.Table]:
        return dict(self.metadata.tables)


def check_schemas(schemas: Sequence[Schema]) -> None:
    """Raise SchemaError if two modules have a table of one name, or a name cannot be used."""
    owners: dict[str, str] = {}
    for schema in schemas:
        for table in schema.metadata.tables.values():
            if table.schema is not None:
                raise SchemaError(
                    f"{schema.name}: table {table.name} names the schema {table.schema}; leave it "
                    "out, since all tables are in the same one"
                )
        for name in (*schema.tables, schema.version_table):
            other = owners.setdefault(name.casefold(), schema.name)
            if other != schema.name:
                raise SchemaError(
                    f"{schema.name}: {other} has a table {name} too; choose another name"
                )
            if len(name) > _MAX_NAME:
                raise SchemaError(
                    f"{schema.name}: the name of table {name} is too long; "
                    f"PostgreSQL takes {_MAX_NAME} letters"
                )
