"""The manifest of a backup: what made it, and the checksum of each of its files."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from app import __version__
from app.backup.errors import BackupError
from app.backup.files import read_only
from app.common.disk import sync
from app.settings import Settings

NAME = "backup.json"
_FORMAT = 1


class File(msgspec.Struct, frozen=True):
    """One file of a backup."""

    size: int  # bytes
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    format: int
    version: str  # of Latchkey
    time: str  # RFC 3339
    database: str  # "sqlite" or "postgresql"
    store: str  # of sessions: "sqlite", "redis" or "memory"
    revisions: dict[str, str]  # of the tables, by the table that holds the revision
    files: dict[str, File]  # by the path in the folder


def write(folder: Path, settings: Settings, revisions: Mapping[str, str]) -> Manifest:
    """Write the manifest of a folder that is complete otherwise, and wait for the disk."""
    manifest = Manifest(
        format=_FORMAT,
        version=__version__,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        database=settings.database_kind,
        store=settings.store_kind,
        revisions=dict(revisions),
        files={name: _describe(folder / name) for name in _names(folder)},
    )
    path = folder / NAME
    path.write_text(json.dumps(msgspec.to_builtins(manifest), indent=2) + "\n")
    path.chmod(0o600)
    sync(path)
    return manifest


def read(folder: Path) -> Manifest | None:
    """Read the manifest of a backup; None if it has none. Raises BackupError."""
    path = folder / NAME
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise BackupError(f"{path} is damaged ({error}); use another backup") from None
    if found.format > _FORMAT:
        raise BackupError(
            f"{folder} was made by Latchkey {found.version}, which is newer than this one; use that"
        )
    return found


def check(folder: Path, manifest: Manifest) -> None:
    """Raise BackupError unless the folder holds exactly the files that were backed up."""
    names = set(_names(folder))
    for name, file in manifest.files.items():
        if name not in names:
            raise BackupError(f"{folder} is damaged: {name} is missing; use another backup")
        if _describe(folder / name) != file:
            raise BackupError(f"{folder} is damaged: {name} has changed since; use another backup")
    if more := sorted(names - manifest.files.keys()):
        raise BackupError(
            f"{folder} has {more[0]}, which is not part of the backup; move it elsewhere"
        )


def sqlite_revisions(path: Path) -> dict[str, str]:
    """Return the revisions in a copy of an SQLite file, by the table that holds each."""
    if not path.exists():
        return {}
    with closing(sqlite3.connect(read_only(path), uri=True)) as database:
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'alembic_version_*'"
        ).fetchall()
        found = {}
        for (table,) in tables:
            row = database.execute(f'SELECT version_num FROM "{table}"').fetchone()  # noqa: S608
            if row is not None:
                found[table] = row[0]
        return found


def _names(folder: Path) -> list[str]:
    """Return the paths of all files in a folder but the manifest."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path != folder / NAME
    )


def _describe(path: Path) -> File:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return File(file.tell(), digest)
