"""Groups of tests share a worker, which starts once what they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.groups import GROUPS
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
