"""The terminal of a command: its pager, its questions and its progress."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

SHOW = "from app.console.screen import show; show([f'line {number}' for number in range(%d)])"
ASK = """
from app.console.errors import Failed, WrongCall
from app.console.screen import confirm
try:
    confirm("Delete ann?", yes=False)
    print("done")
except (Failed, WrongCall) as error:
    print(error)
"""
WORK = """
from app.console import screen
screen._PROGRESS_AFTER = 0.0
with screen.Progress("sessions", {total}) as progress:
    progress.at(1500)
"""


def terminal(code: str, *, typed: str = "", **environ: str) -> str:
    """Run code in a Python at a terminal of 24 lines; return what the terminal shows."""
    master, slave = pty.openpty()
    try:
        os.write(master, typed.encode())
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=os.environ | {"LINES": "24", "COLUMNS": "80"} | environ,
        )
        os.close(slave)
        shown = _read(master)
        assert child.wait() == 0, shown
    finally:
        os.close(master)
    return shown.replace("\r\n", "\n")


def _read(master: int) -> str:
    """Read until the programs have closed the terminal."""
    found = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # how Linux tells the end
            part = b""
        if not part:
            return found.decode()
        found += part


def piped(code: str, **environ: str) -> str:
    """Run code in a Python without a terminal; return its output."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environ,
    )
    return done.stdout


def test_output_that_does_not_fit_goes_through_the_pager() -> None:
    """The user's own, with its arguments."""
    shown = terminal(SHOW % 30, PAGER="sed 's/^/paged /'")
    assert shown.splitlines() == [f"paged line {n}" for n in range(30)]


@pytest.mark.parametrize("pager", ["", "cat", "no-such-pager", "'"])
def test_without_a_pager_all_of_it_is_printed(pager: str) -> None:
    """Also if the one that the user names is missing or has an open quote."""
    shown = terminal(SHOW % 30, PAGER=pager)
    assert shown.splitlines() == [f"line {n}" for n in range(30)]


def test_output_that_fits_or_goes_to_a_program_is_not_paged() -> None:
    """A script reads what the command printed."""
    pager = "sed 's/^/paged /'"
    assert "paged" not in terminal(SHOW % 5, PAGER=pager)
    assert piped(SHOW % 30, PAGER=pager).startswith("line 0\nline 1\n")


@pytest.mark.parametrize(
    ("typed", "last"),
    [("y\n", "done"), ("n\n", "nothing was changed"), ("\n", "nothing was changed")],
)
def test_a_question_takes_no_answer_for_no(typed: str, last: str) -> None:
    """Only "y" and "yes" go on."""
    shown = terminal(ASK, typed=typed)
    assert "Delete ann? [y/N] " in shown
    assert shown.splitlines()[-1].endswith(last)


def test_a_question_without_a_terminal_names_the_flag() -> None:
    """A script must say that it is sure."""
    assert "pass --yes" in piped(ASK)


@pytest.mark.parametrize(
    ("total", "bar"),
    [
        ("3000", "[###############...............] 1,500 of 3,000 sessions"),
        ("None", "1,500 sessions"),
    ],
)
def test_long_work_shows_how_far_it_is(total: str, bar: str) -> None:
    """The line is wiped at the end; what a script reads never has it."""
    shown = terminal(WORK.format(total=total))
    assert shown == f"\r\x1b[K{bar}\r\x1b[K"
    assert piped(WORK.format(total=total)) == ""
