"""The folder of the releases: which there are, which one serves, and which one served before."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.release import files
from app.release.errors import Stopped, WrongCall

_COMPLETE = "release.json"  # a release has it when it is complete


class Releases:
    """The folders below `root`: releases/NAME, and the links current and previous to two of them.

    The service runs in `current`. A process stays in the folder that it began in.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "releases"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lock out a second command on these releases; raises Stopped."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.root / "release.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode() or "unknown"
            raise Stopped(
                f"another upgrade or rollback runs here (process {holder}); wait for its end"
            ) from None
        else:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def path(self, name: str) -> Path:
        """Return the folder of a release."""
        return self.folder / name

    @property
    def current(self) -> str | None:
        """The release that serves, by name."""
        return self._linked("current")

    @property
    def previous(self) -> str | None:
        """The release that served before."""
        return self._linked("previous")

    def switch(self, name: str) -> None:
        """Let processes that start from now on run this release."""
        files.link(self.root / "current", f"releases/{name}")

    def unlink_current(self) -> None:
        """Let no release serve."""
        (self.root / "current").unlink(missing_ok=True)

    def note_previous(self, name: str) -> None:
        """Let `rollback` go to this release."""
        files.link(self.root / "previous", f"releases/{name}")

    def names(self) -> list[str]:
        """Return the complete releases, the oldest first."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{_COMPLETE}"))

    def about(self, name: str) -> dict[str, Any]:
        """Return what is known of a complete release: its source, its version, its time."""
        found: dict[str, Any] = json.loads((self.path(name) / _COMPLETE).read_text())
        return found

    def find(self, word: str) -> str:
        """Return the release of this name, or of its beginning or end; raises WrongCall."""
        names = self.names()
        if word in names:
            return word
        found = [name for name in names if name.startswith(word) or name.endswith(word)]
        if len(found) != 1:
            raise WrongCall(f"{word}: name one release of: {', '.join(names) or 'none'}")
        return found[0]

    def new(self, label: str) -> str:
        """Make the folder of a new release, and remove what interrupted upgrades left."""
        for path in (self.root, self.folder):
            path.chmod(path.stat().st_mode | 0o011)  # the processes are another user
        complete = self.names()
        for path in self.folder.iterdir():
            if path.name not in complete:
                shutil.rmtree(path)
        stem = f"{time.strftime('%Y-%m-%dT%H%M%S', time.gmtime())}-{label}"
        name, number = stem, 1
        while self.path(name).exists():
            number += 1
            name = f"{stem}-{number}"
        self.path(name).mkdir()
        return name

    def complete(self, name: str, about: dict[str, Any]) -> None:
        """Note that a release is complete."""
        files.write(self.path(name) / _COMPLETE, json.dumps(about, indent=2) + "\n")

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest releases, and those that are linked; return their names."""
        linked = {self.current, self.previous}
        old = [name for name in self.names()[: -max(keep, 1)] if name not in linked]
        for name in old:
            (self.path(name) / _COMPLETE).unlink()
            shutil.rmtree(self.path(name))
        return old

    def _linked(self, name: str) -> str | None:
        try:
            target = (self.root / name).readlink().name
        except OSError:
            return None
        return target if self.path(target).is_dir() else None
