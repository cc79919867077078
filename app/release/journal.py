"""How far a change of the release has come, on disk, so that a second command can go on or back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from app.common.disk import sync
from app.release import files

_FILE = "change.json"


@dataclass
class Journal:
    """A change from one release to another."""

    kind: str  # upgrade or rollback
    before: str | None  # release; None for the first one
    to: str  # release
    #: The revision of each module's tables before the change; None if it had none.
    revisions: dict[str, str | None] = field(default_factory=dict)
    #: The revision to which each module's tables go back first.
    downgrades: dict[str, str] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)  # processes that may run the new release
    done: list[str] = field(default_factory=list)  # processes that serve it

    def store(self, root: Path) -> None:
        """Write it to disk."""
        files.write(root / _FILE, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @staticmethod
    def remove(root: Path) -> None:
        """Note that no change is going on."""
        (root / _FILE).unlink(missing_ok=True)
        sync(root)

    @staticmethod
    def load(root: Path) -> Journal | None:
        """Return the change that was interrupted, if there is one."""
        try:
            return Journal(**json.loads((root / _FILE).read_text()))
        except FileNotFoundError:
            return None
