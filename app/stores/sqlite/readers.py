"""The connections that read an SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.stores.errors import StoreUnavailable
from app.stores.sqlite.rows import Row


class Readers:
    """One connection for single rows, on the loop's thread, and one for many, on its own thread.

    To read one indexed row out of SQLite's page cache takes less time than to hand the question
    to a thread. Many rows, or a cold disk, take a while.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], name: str) -> None:
        """`connect` opens the file; `name` is for errors."""
        self._name = name
        self._single = connect()
        self._many = connect()
        for connection in (self._single, self._many):
            # a reader in WAL mode never has to wait, so it must not block the loop
            connection.execute("PRAGMA busy_timeout = 0")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"lists {name}")

    def read(self, statement: str, values: Sequence[object]) -> list[Row]:
        """Read one row, or none, on the calling thread."""
        return self._run(self._single, statement, values)

    async def read_many(self, statement: str, values: Sequence[object]) -> list[Row]:
        """Read rows on the other thread."""
        try:
            reading = asyncio.get_running_loop().run_in_executor(
                self._thread, self._run, self._many, statement, values
            )
        except RuntimeError as error:
            raise StoreUnavailable(f"{self._name} is closed") from error
        return await reading

    async def close(self) -> None:
        """Wait for the reads under way and close the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)
        self._single.close()
        self._many.close()

    def _run(
        self, connection: sqlite3.Connection, statement: str, values: Sequence[object]
    ) -> list[Row]:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"{self._name} could not be read ({error}); try again"
            ) from error
