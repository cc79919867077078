"""Fixtures and hooks of all tests: a time limit for each coroutine test, and shared servers."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from app.accounts import passwords
from tests.support import compiled, groups, leftovers
from tests.support.chromium import launched
from tests.support.postgres import Place, Postgres

# node and npm of the dev extra, for machines that have none
os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)
compiled.keep()
leftovers.begin()

# folders of tests that take minutes each
_LONG = [Path(__file__).resolve().parent / name for name in ("reliability", "machines")]
_TEST_TIMEOUT = 30.0  # seconds, unless the test has the mark `limit(seconds)`


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite in three processes per core, since tests often wait; a part in one."""
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return 0
    return 3 * len(os.sched_getaffinity(0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each group of tests to one worker."""
    return groups.scheduler(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the long tests unless the command line names their folder."""
    if collection_path in _LONG and not any(collection_path.name in arg for arg in config.args):
        return True
    return None


def pytest_collection(session: pytest.Session) -> None:
    """Let the workers share the compilation of all test files out among them."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None and session.config.args_source is not pytest.Config.ArgsSource.ARGS:
        number, workers = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        files = sorted(Path(__file__).parent.rglob("test_*.py"))
        short = [path for path in files if not set(_LONG) & set(path.parents)]
        compiled.share_out(short, number, workers)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests of a worker, so that all processors have work."""
    if hasattr(config, "workerinput"):
        groups.spread(items)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Limit the time of a coroutine test, so that its failure shows the line where it waits."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        mark = item.get_closest_marker("limit")
        item.obj = _limited(item.obj, float(mark.args[0]) if mark else _TEST_TIMEOUT)


def _limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Any]:
    @functools.wraps(test)
    async def limited(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return limited


@pytest.fixture(autouse=True)
def cheap_hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at argon2's lowest cost, unless the test has the mark `real_hashes`."""
    if request.node.get_closest_marker("real_hashes") is None:
        monkeypatch.setattr(passwords, "MEMORY_COST", 8)
        monkeypatch.setattr(passwords, "TIME_COST", 1)


@pytest.fixture(scope="module", autouse=True)
def little_garbage() -> None:
    """Take what is loaded out of the garbage collections that tests ask for; they took 60 ms."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, the same one for all tests that ask for it."""
    server = Postgres()
    yield server
    server.remove()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Any]:
    """A browser, the same one for all tests that ask for it; they run in its event loop."""
    async with launched() as browser:
        yield browser


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """An empty database for accounts; a test that takes it runs once on each kind."""
    if request.param == "sqlite":
        yield Place(tmp_path, None)
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.lent() as name:
        yield Place(tmp_path, server, name)
