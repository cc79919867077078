"""Groups of tests share a worker, which starts once what they need; others come in turn."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.groups import GROUPS, spread
from tests.support.paths import ROOT


@pytest.fixture
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers have."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "groups"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("number", range(10))
def test_one_worker_runs_a_group(seen: Path, number: int) -> None:
    """Each of these tests finds the ones before it, and no worker but its own."""
    (seen / os.environ.get("PYTEST_XDIST_WORKER", "alone")).touch()
    assert len(list(seen.glob("*"))) == 1


def test_groups_name_files_that_exist() -> None:
    """A file that is moved keeps its group."""
    assert [path for path in GROUPS if not (ROOT / path).is_file()] == []


def test_the_files_of_a_folder_are_spread_over_the_run() -> None:
    """A small folder's come as late as a large one's; the tests of a file stay together."""
    group = next(iter(GROUPS))
    numbers = {"a/1": 2, "a/2": 2, "a/3": 2, "a/4": 2, "b/1": 1, "b/2": 1, group: 2}
    tests: list[Any] = [
        SimpleNamespace(nodeid=f"{file}::test_{number}")
        for file, count in numbers.items()
        for number in range(count)
    ]
    spread(tests)
    assert [test.nodeid for test in tests] == [
        *(f"{group}::test_0", f"{group}::test_1", "a/1::test_0", "a/1::test_1"),
        *("a/2::test_0", "a/2::test_1", "b/1::test_0", "a/3::test_0", "a/3::test_1"),
        *("a/4::test_0", "a/4::test_1", "b/2::test_0"),
    ]
