"""The revisions in a folder of Alembic's scripts, read without running them or importing Alembic.

A start that has nothing to migrate needs no more than this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.database.schema import SchemaError

_STRING = re.compile(r"""["']([^"']+)["']""")
_ASSIGNMENT = re.compile(
    r"""^(?P<name>revision|down_revision)\b[^=\n]*=\s*"""
    r"""(?P<value>None|"[^"\n]*"|'[^'\n]*'|\([^)]*\)|\[[^]]*\])""",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Revisions:
    """The ids of the revisions in a folder."""

    known: frozenset[str]
    base: str  # the first one
    head: str  # the last one


def read_revisions(folder: Path) -> Revisions:
    """Read the scripts of a folder; raises SchemaError if they are not one line of revisions."""
    files: dict[str, str] = {}
    down: dict[str, tuple[str, ...]] = {}
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            revision, below = _read(path)
            if revision in files:
                raise SchemaError(
                    f"{path} and {files[revision]} have the same revision {revision}; "
                    "give one of them another id"
                )
            files[revision], down[revision] = path.name, below
    if not down:
        raise SchemaError(
            f"{folder} has no revision; make the first one by "
            "python -m app.database revision MODULE -m MESSAGE, or remove the folder"
        )
    return Revisions(frozenset(down), _base(folder, files, down), _head(folder, files, down))


def _read(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the id of a script and the ids that it follows."""
    source = path.read_text(encoding="utf-8")
    found = {match["name"]: match["value"] for match in _ASSIGNMENT.finditer(source)}
    revision = _STRING.findall(found.get("revision", ""))
    if len(revision) != 1 or "down_revision" not in found:
        raise SchemaError(
            f'{path} is no script of Alembic: it needs a line revision = "…" and a line '
            "down_revision = …, each with a plain string, None or a tuple of strings"
        )
    return revision[0], tuple(_STRING.findall(found["down_revision"]))


def _base(folder: Path, files: Mapping[str, str], down: Mapping[str, tuple[str, ...]]) -> str:
    for revision, below in down.items():
        for lower in below:
            if lower not in down:
                raise SchemaError(
                    f"{folder / files[revision]} follows revision {lower}, which is in no file "
                    f"of {folder}; put that file back"
                )
    bases = [revision for revision, below in down.items() if not below]
    if len(bases) != 1:
        names = ", ".join(files[base] for base in bases) or "none"
        raise SchemaError(
            f"one script of {folder} must be the first, with down_revision = None; found: {names}"
        )
    return bases[0]


def _head(folder: Path, files: Mapping[str, str], down: Mapping[str, tuple[str, ...]]) -> str:
    followed = {lower for below in down.values() for lower in below}
    heads = [revision for revision in down if revision not in followed]
    if len(heads) != 1:
        names = " and ".join(files[head] for head in heads)
        raise SchemaError(
            f"{names} in {folder} are both the last; set down_revision of the newer one to the "
            "revision of the other"
        )
    return heads[0]
