"""The terminal: output with a pager, questions, and progress."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from time import monotonic

from app.console.errors import Failed, WrongCall

_PROGRESS_AFTER = 0.5  # seconds
_BAR = 30  # characters


def width() -> int | None:
    """Return the width for tables: COLUMNS, else that of the terminal; None if there is none."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdecimal():
        return None
    return max(shutil.get_terminal_size().columns, 20)


def show(lines: Sequence[str]) -> None:
    """Print lines; those that do not fit a terminal go through $PAGER, or less."""
    text = "\n".join(lines) + "\n" if lines else ""
    if sys.stdout.isatty() and len(lines) >= shutil.get_terminal_size().lines and _page(text):
        return
    sys.stdout.write(text)
    sys.stdout.flush()


def note(sentence: str) -> None:
    """Print a sentence beside the output, on standard error."""
    print(sentence, file=sys.stderr, flush=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask whether to go on; raises Failed if not, and WrongCall if there is no terminal to ask."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise WrongCall("there is no terminal to ask whether you are sure; pass --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Failed("nothing was changed")


class Progress:
    """A bar on the terminal of standard error, once something takes long; use it by `with`."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self.total = total
        self._began = monotonic()
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def at(self, done: int) -> None:
        """Show how much is done."""
        if not sys.stderr.isatty() or monotonic() - self._began < _PROGRESS_AFTER:
            return
        self._shown = True
        sys.stderr.write(f"\r\x1b[K{self._line(done)}")
        sys.stderr.flush()

    def _line(self, done: int) -> str:
        if not self.total:
            return f"{done:,} {self._what}"
        full = min(done * _BAR // self.total, _BAR)
        return f"[{'#' * full}{'.' * (_BAR - full)}] {done:,} of {self.total:,} {self._what}"


def _page(text: str) -> bool:
    """Show a text in a pager; return False if there is none."""
    pager = os.environ.get("PAGER", "less")
    if not pager or pager == "cat":
        return False
    environ = {"LESS": "FRX", "LESSCHARSET": "utf-8", **os.environ}
    try:
        command = shlex.split(pager)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environ)  # noqa: S603
    except (OSError, ValueError):
        return False
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # the reader has left it
        process.stdin.write(text.encode())
        process.stdin.close()
    while True:
        try:
            process.wait()
            return True
        except KeyboardInterrupt:  # for the pager, which stops searching
            continue
