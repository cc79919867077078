"""Where sessions live: the record that a store keeps and the protocol every store obeys."""

from app.stores.base import (
    Lease,
    LeaseLost,
    Record,
    RecordGone,
    SessionStore,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)

__all__ = [
    "Lease",
    "LeaseLost",
    "Record",
    "RecordGone",
    "SessionStore",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
]
