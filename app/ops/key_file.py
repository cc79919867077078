"""The file of keys as the command `python -m app keys` changes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from app.common.disk import sync


class KeyFileBusy(Exception):
    """Another command changes the keys."""


def write_keys(path: Path, keys: Sequence[str]) -> None:
    """Replace the keys of this file, of which the last one signs; raises OSError."""
    replace_file(path, "".join(f"{key}\n" for key in keys).encode())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file whole, or leave it as it is; it is on disk then. Raises OSError.

    Only the owner may read it. It gets the owner of the file before, or else of the folder, so
    that root may change what a process reads.
    """
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _give(descriptor, path if path.exists() else path.parent)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lock out other commands that change this file; raises KeyFileBusy or OSError."""
    lock = path.with_name(path.name + ".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _give(descriptor, path.parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeyFileBusy(
                f"another command changes the keys of {path}; wait until it ends"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _give(descriptor: int, like: Path) -> None:
    """Give an open file to the owner of another one; only root can, and needs to."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
