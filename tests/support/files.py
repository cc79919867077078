"""The files of the repository, without those that git ignores."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT


def sources() -> Iterator[Path]:
    """Yield the files that git may track."""
    patterns = [line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return _files(ROOT, [*patterns, ".git"])


def _files(folder: Path, patterns: list[str]) -> Iterator[Path]:
    """Yield the files below a folder, without files and folders that a pattern names."""
    for path in folder.iterdir():
        relative = path.relative_to(ROOT).as_posix()
        if any(
            fnmatch.fnmatch(name, pattern) for pattern in patterns for name in (path.name, relative)
        ):
            continue
        if path.is_dir():
            yield from _files(path, patterns)
        else:
            yield path
