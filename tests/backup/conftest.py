"""Machines for the tests of this room."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.machines import Machine
from tests.support.postgres import Postgres
from tests.support.redis_server import RedisServer


@pytest.fixture(params=["sqlite", "postgresql and redis"])
def kind(request: pytest.FixtureRequest) -> str:
    """Return where a site keeps accounts and sessions."""
    return str(request.param)


@pytest.fixture
def machines(tmp_path: Path, postgres: Postgres, kind: str) -> Iterator[Any]:
    """Return a function that makes an empty machine."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> Machine:
            data = tmp_path / name / "data"
            if kind == "sqlite":
                return Machine(data, (), postgres)
            redis = RedisServer(tmp_path / name / "redis")
            redis.start()
            stack.callback(redis.kill)
            database = postgres.database()
            flags = (f"--store={redis.url}", f"--database={postgres.url(database)}")
            data.mkdir(parents=True)
            (data.parent / "keys").mkdir(mode=0o700)
            return Machine(data, flags, postgres, database, redis)

        yield make
