"""How tests run: coroutines on a loop of their own, each with a time limit; shared servers."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import path
from tests.support.postgres import Place, Postgres

# node and npm of the dev extra, for machines that have none
os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)

_LIMIT = 30.0  # seconds that a test may take unless it says `@pytest.mark.limit(seconds)`


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a new event loop and end it when its time is over."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    mark = pyfuncitem.get_closest_marker("limit")
    limit = float(mark.args[0]) if mark else _LIMIT
    arguments: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames
    }

    async def limited() -> None:
        await asyncio.wait_for(pyfuncitem.obj(**arguments), limit)

    asyncio.run(limited())
    return True


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, the same one for all tests that ask for it."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def chromium() -> str:
    """Path of a browser."""
    return path()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty database for accounts; a test that takes it runs once on each kind."""
    kind = request.param
    return Place(tmp_path, request.getfixturevalue("postgres") if kind == "postgresql" else None)
