"""Run the migrations of a module by Alembic."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.database.errors import is_lost_connection, reason
from app.database.schema import Schema, SchemaError

log = logging.getLogger("latchkey.database")
T = TypeVar("T")


def run_scripts(schema: Schema, work: Callable[[Any], T]) -> T:
    """Give Alembic's commands to a function, and return its result.

    An error of a script becomes a SchemaError that names its file.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # one line a step is enough
    # it takes a quarter of a second to import, and most starts have nothing to migrate
    alembic = importlib.import_module("app.database.alembic_commands")
    try:
        return work(alembic)
    except Exception as error:
        if isinstance(error, SQLAlchemyError) and is_lost_connection(error):
            raise
        path = next(
            (
                frame.f_code.co_filename
                for frame, _ in reversed(list(walk_tb(error.__traceback__)))
                if frame.f_code.co_filename.startswith(f"{schema.migrations}/")
            ),
            schema.migrations,
        )
        log.error("a migration of %s failed", schema.name, exc_info=error)
        raise SchemaError(
            f"{path} failed ({reason(error) or type(error).__name__}); the database is as it was "
            "before. Correct the file, or start the release before"
        ) from error
