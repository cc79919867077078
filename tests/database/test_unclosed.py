"""Freeing a database closes its connections, also when its application could not be built."""

from __future__ import annotations

import gc

import sqlalchemy as sa
from sqlalchemy.pool import QueuePool

from app.database import Database
from tests.support.postgres import Place


def connections(engine: sa.Engine) -> int:
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedin() + pool.checkedout()


def test_its_connections_are_closed_when_it_is_freed(place: Place) -> None:
    database = Database(place.settings)
    engine = database.engine
    with engine.connect():
        pass
    assert connections(engine) == 1
    del database
    gc.collect()
    assert connections(engine) == 0
