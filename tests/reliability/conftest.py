"""The option of the long tests."""

from __future__ import annotations

import faulthandler

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--minutes",
        type=float,
        default=0.0,
        help="how long each test that can go on for ever does; 0: a short, bounded form",
    )


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long a test that can go on for ever is to run; 0: its short form."""
    minutes: float = request.config.getoption("--minutes") or 0.0
    return 60 * minutes


@pytest.fixture(autouse=True)
def long() -> None:
    """Take away the five minutes that each test has; its mark `limit` says how long it takes."""
    faulthandler.cancel_dump_traceback_later()
