"""The files of the repository, without those that git ignores."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT


def sources() -> Iterator[Path]:
    """Yield the files that git may track."""
    return (path for path in ROOT.rglob("*") if path.is_file() and not _ignored(path))


def _ignored(path: Path) -> bool:
    """Return whether .gitignore names this file, or a folder that it is in."""
    relative = path.relative_to(ROOT)
    for line in (ROOT / ".gitignore").read_text().splitlines():
        pattern = line.strip("/")
        if relative.is_relative_to(pattern) or any(
            fnmatch.fnmatch(part, pattern) for part in relative.parts
        ):
            return True
    return ".git" in relative.parts
