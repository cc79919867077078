"""The choice of the store of sessions, by --store."""

from __future__ import annotations

from typing import Protocol

from app.settings import Settings
from app.stores import SessionStore
from app.stores.memory import MemoryStore
from app.stores.sqlite.store import SqliteStore


class SharesStore(Protocol):
    """The other processes of the site."""

    @property
    def store(self) -> SessionStore:
        """The sessions of all processes."""
        ...


def open_store(settings: Settings, cluster: SharesStore | None) -> SessionStore:
    """Return the store in Redis, whose connection the cluster has, or one of this process alone.

    Raises FileOwned or StoreUnavailable.
    """
    if cluster is not None:
        return cluster.store
    if settings.store == "memory":
        return MemoryStore()
    return SqliteStore(settings.data_dir / "sessions.sqlite3")
