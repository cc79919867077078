"""A new database file that several programs open at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.database import sqlite

PROGRAMS, ROUNDS = 6, 60


def test_programs_that_open_a_new_file_at_once_wait_for_one_another(tmp_path: Path) -> None:
    """SQLite says "database is locked" to some of them while one turns the log on."""
    together = threading.Barrier(PROGRAMS)

    def open_new(number: int) -> None:
        engine = sqlite.engine(tmp_path / f"{number}.sqlite3", 1)
        together.wait(20)
        try:
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        finally:
            engine.dispose()

    with ThreadPoolExecutor(PROGRAMS) as pool:
        for number in range(ROUNDS):
            list(pool.map(open_new, [number] * PROGRAMS))
