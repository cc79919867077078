"""The choice of the store of sessions, by --store."""

from __future__ import annotations

from app.settings import Settings
from app.stores import SessionStore
from app.stores.memory import MemoryStore
from app.stores.sqlite.store import SqliteStore


def open_store(settings: Settings) -> SessionStore:
    """Open the store of a process that serves alone; Redis comes with `optional_cluster`.

    Raises FileOwned or StoreUnavailable.
    """
    if settings.store == "memory":
        return MemoryStore()
    return SqliteStore(settings.data_dir / "sessions.sqlite3")
