"""What Python compiles is kept, and each test file is compiled by one worker of pytest-xdist."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def keep() -> None:
    """Write `.pyc` files, here and in programs, even if the environment says not to.

    The tests start commands by the hundred, and each would compile the program anew, in 0.5 s.
    """
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def share_out(paths: Sequence[Path], worker: int, workers: int) -> None:
    """Import these test files, beginning with the part of this worker.

    All workers import all test files. If all began with the same one, each would compile all
    that is new, in 6 s. So each finds what the others have compiled meanwhile.
    """
    first = len(paths) * worker // workers
    for path in (*paths[first:], *paths[:first]):
        # the collection imports a file that fails once more, and reports it
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
