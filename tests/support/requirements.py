"""What tests need of the machine: without it they are skipped by name, and in CI they fail."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def cannot(sentence: str) -> NoReturn:
    """Skip by name; in CI a missing tool is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def found(name: str) -> str:
    """Path of a program that Debian has in the package of the same name."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return path or cannot(f"{name} is not installed: apt-get install {name}")
