"""The files of the program, and which of them have changed."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_POLL_INTERVAL = 0.25  # seconds between two looks
_IGNORED = (".pyc", ".swp", ".tmp", ".lock", "~")


class Files:
    """Looks at the times of files: this works in containers and on network file systems too."""

    def __init__(self, roots: Iterable[Path]) -> None:
        """`roots` are files, and folders that are watched in any depth."""
        self._roots = sorted(set(roots))
        self._seen = dict(self._look())

    async def changed(self) -> list[Path]:
        """Wait until files are added, changed or removed, and no more follow; return them."""
        changed: set[Path] = set()
        while True:
            await asyncio.sleep(_POLL_INTERVAL)
            now = dict(self._look())
            new = {path for path, _ in now.items() ^ self._seen.items()}
            self._seen = now
            changed |= new
            if changed and not new:  # an editor or a checkout of Git writes several
                return sorted(changed)

    def _look(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        for root in self._roots:
            for path in _files(root):
                try:
                    found = path.stat()
                except OSError:
                    continue  # it has just been removed
                yield path, (found.st_mtime_ns, found.st_size)


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    try:
        entries = list(root.iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith((".", "__pycache__", "node_modules")):
            continue
        if path.name.endswith(_IGNORED) or not (path.suffix or path.is_dir()):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def folders(root: Path, modules: Sequence[str]) -> list[Path]:
    """Return the folders of the program below `root`, and those of modules elsewhere."""
    found = [root / name for name in ("app", "handlers", "static")]
    for package in {name.rpartition(".")[0] or name for name in modules}:
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError, SyntaxError):
            continue  # the child says what is wrong with it
        if spec is not None:
            origin = [Path(spec.origin)] if spec.origin else []
            found += [Path(path) for path in spec.submodule_search_locations or origin]
    return found
