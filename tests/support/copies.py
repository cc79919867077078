"""Copies of the program, to which tests add modules of their own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import handlers
from tests.support.demo import session as demo_session
from tests.support.paths import ROOT


def copy_upstream(folder: Path, *without: str) -> Path:
    """Copy the program to a folder, without the modules, templates and sessions of a fork.

    `without` are names of files and folders to leave out. Returns the folder.
    """
    # another process may be about to rename a `.pyc.NUMBER`
    ignored = shutil.ignore_patterns("*.pyc.*", *without)
    # with __pycache__, so that each start of the copy need not compile the program
    for name in ("app", "static", "handlers/templates"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("__init__", *handlers.modules):
        module = ROOT / "handlers" / name
        if module.is_dir():
            shutil.copytree(module, folder / "handlers" / name, ignore=ignored)
        else:
            shutil.copy(module.with_suffix(".py"), folder / "handlers")
    shutil.copy(str(demo_session.__file__), folder / "handlers" / "session.py")
    return folder


def link_program(folder: Path) -> None:
    """Make a folder that has the program where an installation has it, with this Python."""
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    # not a link, by which Python would not find the packages of its environment
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("app", "handlers", "static"):
        (folder / name).symlink_to(ROOT / name)
