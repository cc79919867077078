"""The tables that modules of handlers/ offer, and the folders of their migrations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import sqlalchemy as sa

from app.database.schema import Schema, SchemaError

#: Name, `metadata` and migrations of a module; None for what it has not.
Offer = tuple[str, object | None, Path | None]


def migrations_folder(module: ModuleType) -> Path | None:
    """Return `migrations` in a package, or `NAME_migrations` beside a module; None: no such folder.

    The folder of handlers/chat/ is handlers/chat/migrations, that of handlers/chat.py is
    handlers/chat_migrations.
    """
    folder = migrations_place(module)
    return folder if folder is not None and folder.is_dir() else None


def migrations_place(module: ModuleType) -> Path | None:
    """Return where the migrations of a module are or may be; None if it is in no file."""
    file: str | None = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    is_package = path.stem == "__init__"
    return path.parent / "migrations" if is_package else path.with_name(f"{path.stem}_migrations")


def module_schemas(offers: Iterable[Offer]) -> list[Schema]:
    """Return the tables of the modules.

    A module may import the metadata of another one. Its tables belong to the module that has
    migrations, or to the first one. Raises SchemaError if two of them have migrations.
    """
    owners: dict[int, Schema] = {}
    for name, metadata, migrations in offers:
        if metadata is None and migrations is None:
            continue
        if metadata is None:
            metadata = sa.MetaData()  # tables that only migrations know
        if not isinstance(metadata, sa.MetaData):
            raise SchemaError(f"{name}: metadata must be a sqlalchemy.MetaData")
        own = Schema(name=name, metadata=metadata, migrations=migrations)
        owners[id(metadata)] = _owner(owners.get(id(metadata), own), own)
    return list(owners.values())


def _owner(first: Schema, second: Schema) -> Schema:
    """Return which of two modules owns the tables that both name."""
    if first is not second and first.migrations and second.migrations:
        raise SchemaError(
            f"{first.name} and {second.name} have migrations of the same metadata; "
            "remove one of the folders"
        )
    return second if second.migrations else first
