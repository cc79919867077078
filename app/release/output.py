"""What the command tells: a line for each step, on the terminal and in a file."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


class Output:
    """Prints lines. A terminal that is gone stops nothing, and the file has them all."""

    def __init__(self, path: Path) -> None:
        """`path` is the file, to which lines are added."""
        self._path = path

    def step(self, name: str, words: str) -> None:
        """Tell what a step did."""
        self._write(f"{name:<9} {words}")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(text, flush=True)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{now} {line}\n" for line in text.splitlines())
