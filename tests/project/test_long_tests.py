"""The long tests run only where the command line names their folder."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_ignore_collect
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("args", "left_out"),
    [
        (["tests"], True),
        (["tests/ops", "tests/web"], True),
        (["tests/reliability"], None),
        (["tests/reliability/test_kill_9.py::test_x"], None),
    ],
)
def test_long_tests_are_collected_by_name_only(args: list[str], left_out: bool | None) -> None:
    """`pytest` and `pytest tests` leave them out."""
    config: Any = SimpleNamespace(args=args)
    assert pytest_ignore_collect(ROOT / "tests" / "reliability", config) is left_out
    assert pytest_ignore_collect(ROOT / "tests" / "ops", config) is None
