"""Fixtures of the tests in this folder: a fork, and a clock that moves."""

from pathlib import Path
from typing import Any

import pytest

from app.testing import MovableClock
from tests.support.demo.session import SessionData
from tests.support.fixtures import ann, site, visitor
from tests.support.step_up import step_up_modules

__all__ = ["ann", "site", "visitor"]


@pytest.fixture
def clock() -> MovableClock:
    """The clock of sessions."""
    return MovableClock()


@pytest.fixture
def latchkey_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: MovableClock
) -> dict[str, Any]:
    return {
        "modules": step_up_modules(monkeypatch),
        "data_type": SessionData,
        "data_dir": tmp_path / "data",
        "clock": clock,
        "failed_logins_per_minute": 3,
    }
