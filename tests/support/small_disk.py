"""A disk of its own, small enough to be filled."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.requirements import skip


class SmallDisk:
    """A file system in memory, mounted at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1_000_000, 4096, 1):
                with contextlib.suppress(_Full):
                    while True:
                        _write(filler.fileno(), size)

    def free(self) -> None:
        """Free what `fill` took."""
        self._filler.unlink(missing_ok=True)


class _Full(Exception):
    """There is no space left."""


def _write(file: int, size: int) -> None:
    try:
        if os.write(file, bytes(size)) < size:
            raise _Full
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _Full from None


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a disk of this size; only root may."""
    if os.getuid() != 0:
        skip("only root may mount a file system in memory")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        # lazily, since a process that is just ending may still have a file of it open
        subprocess.run(["umount", "--lazy", folder], check=True)
