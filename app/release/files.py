"""Files that are replaced whole, and links that are switched whole."""

from __future__ import annotations

import os
from pathlib import Path

from app.common.disk import sync


def write(path: Path, text: str) -> None:
    """Replace a file, or leave it as it is; it is on disk then."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync(path.parent)


def link(path: Path, target: str) -> None:
    """Make a link, or let it lead elsewhere; at each moment it leads to one of both."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)
    sync(path.parent)
