"""The checks of a backup before it is restored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.backup import manifest, postgresql
from app.backup.errors import BackupError
from app.backup.files import ACCOUNTS, KEYS, SESSIONS, TABLES, check_database
from app.backup.manifest import Manifest
from app.database import Schema
from app.database.revisions import read_revisions
from app.settings import Settings


def verify(folder: Path) -> Manifest:
    """Check that a backup is complete and unchanged; raises BackupError."""
    found = manifest.read(folder)
    if found is None:
        raise BackupError(f"{folder} is not a backup: it has no {manifest.NAME}")
    manifest.check(folder, found)
    for name in (ACCOUNTS, SESSIONS):
        if name in found.files:
            check_database(folder / name)
    if postgresql.DUMP in found.files:
        postgresql.check_dump(folder / postgresql.DUMP)
    return found


def readable(folder: Path, *, unchecked: bool) -> Manifest | None:
    """Check a backup and return its manifest; None for one without, if that is allowed."""
    if not folder.is_dir():
        raise BackupError(f"there is no folder {folder}")
    if manifest.read(folder) is not None:
        return verify(folder)
    if not any((folder / name).is_file() for name in (*TABLES, KEYS)):
        raise BackupError(f"{folder} is not a backup: it has no database and no key")
    if not unchecked:
        raise BackupError(
            f"{folder} has no {manifest.NAME}, so it is not known to be complete; add --unchecked "
            "if an older release has made it"
        )
    return None


def check_fits(
    found: Manifest, folder: Path, settings: Settings, schemas: Sequence[Schema]
) -> None:
    """Raise BackupError unless the settings and this release can take the backup."""
    if found.database != settings.database_kind:
        raise BackupError(
            f"{folder} has the accounts of {found.database}, and --database is "
            f"{settings.database_kind}; restore it with the kind of database that it is of"
        )
    for schema in schemas:
        revision = found.revisions.get(schema.version_table)
        if revision is None or schema.migrations is None:
            continue
        if revision not in read_revisions(schema.migrations).known:
            raise BackupError(
                f"{folder} was made by Latchkey {found.version} with revision {revision} of the "
                f"tables of {schema.name}, which this release does not know; install that release "
                "or a newer one"
            )
