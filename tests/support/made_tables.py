"""Databases that have the tables of accounts already."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from app.accounts.schema import SCHEMA
from app.database.engine import open_engine
from app.database.migrations import migrate
from app.database.sqlite import FILE
from app.settings import Settings


def put(data_dir: Path) -> None:
    """Put one into a data folder that has no database; a site would need 12 ms of CPU for it."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = data_dir / FILE
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(_made())


@functools.cache
def _made() -> bytes:
    with tempfile.TemporaryDirectory(prefix="latchkey-tables-") as folder:
        settings = Settings(data_dir=Path(folder))
        engine = open_engine(settings, connections=1)
        migrate(engine, [SCHEMA])
        engine.dispose()
        return (settings.data_dir / FILE).read_bytes()
