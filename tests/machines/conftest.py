"""The option and the fixtures of the tests on whole machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.machine import Machine
from tests.support.requirements import skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bases",
        type=Path,
        help="a folder for the base systems, to make them once for many runs; 300 MB each",
    )


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's own is closed to them."""
    if os.getuid() != 0:
        skip("machines need root")
    with tempfile.TemporaryDirectory(prefix="latchkey-machine-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def machine(folder: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """An empty machine with the release of the test's parameter, running."""
    release: str = request.param
    machine = Machine(folder / release)
    bases: Path | None = request.config.getoption("--bases")
    if bases is None:
        machine.make(release)
    else:
        bases.mkdir(parents=True, exist_ok=True)
        if not (bases / release).exists():
            Machine(bases / release).make(release)
        subprocess.run(["cp", "-a", bases / release, machine.root], check=True)
    try:
        machine.start()
        yield machine
    finally:
        machine.stop()
        shutil.rmtree(machine.root)
