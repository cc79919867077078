"""Programs that tests require. Without one they are skipped; with CI=true they fail."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def skip(reason: str) -> NoReturn:
    """Skip the test with this reason; with CI=true fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def find_program(name: str, package: str = "") -> str:
    """Return the path of a program of a Debian package, by default the one of the same name."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return path or skip(f"{name} is not installed: apt-get install {package or name}")
