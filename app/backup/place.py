"""The folder of a backup: it appears when it is complete, and old ones are removed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from app.backup import manifest
from app.backup.errors import BackupError
from app.common.disk import sync

_DATED = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z")  # names that `dated` gives
_PARTIAL = ".partial"


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` at the end; if the block raises, nothing does.

    Raises BackupError if `folder` exists and is not empty, or is being made by another process.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupError(f"{folder} exists and is not empty; choose another folder")
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with temporary(folder.with_name(f".{folder.name}{_PARTIAL}")) as partial:
        yield partial
        for path in [partial, *partial.rglob("*")]:
            if path.is_dir():
                sync(path)
        partial.rename(folder)
        sync(folder.parent)


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Make an empty folder that is removed at the end, unless it was renamed."""
    if path.is_dir():
        _remove_unused(path)
    path.mkdir(mode=0o700)
    with _locked(path):
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def dated(parent: Path) -> Path:
    """Return the folder in `parent` for a backup that is made now."""
    return parent / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")


def remove_old(parent: Path, keep: int) -> list[str]:
    """Remove all dated backups but the `keep` newest, and what broken ones left; return names."""
    for path in parent.glob(f".*{_PARTIAL}"):
        with contextlib.suppress(BackupError):
            _remove_unused(path)
    complete = sorted(
        path
        for path in parent.iterdir()
        if _DATED.fullmatch(path.name) and (path / manifest.NAME).is_file()
    )
    old = complete[:-keep]
    for path in old:
        # renamed first: a backup that is half removed must not look like a whole one
        leaving = path.with_name(f".{path.name}{_PARTIAL}")
        path.rename(leaving)
        shutil.rmtree(leaving)
    return [path.name for path in old]


def _remove_unused(path: Path) -> None:
    """Remove what a process has left that died; raises BackupError if it lives."""
    with _locked(path):
        shutil.rmtree(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock a folder that is being made; raises BackupError if another process has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BackupError(f"another process makes {path} at the moment; wait for it") from None
    except OSError:
        pass  # the file system has no such locks
    try:
        yield
    finally:
        os.close(descriptor)
