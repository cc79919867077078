"""A library that sets the clock of one program."""

from __future__ import annotations

from pathlib import Path

from tests.support.requirements import skip


def faketime() -> str:
    """Return the path of the library, for LD_PRELOAD."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    return str(found) if found else skip("faketime is not installed: apt-get install faketime")
