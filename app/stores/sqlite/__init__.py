"""Sessions in an SQLite file that one process owns: the default store."""

from app.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
