"""Where sessions live: the record that a store keeps and the protocol every store obeys."""

from app.stores.base import (
    PAGE,
    HidesSessionId,
    Lease,
    LeaseLost,
    Record,
    RecordGone,
    SessionStore,
    StoreBusy,
    StoreError,
    StoreUnavailable,
    public_id,
)

__all__ = [
    "PAGE",
    "HidesSessionId",
    "Lease",
    "LeaseLost",
    "Record",
    "RecordGone",
    "SessionStore",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "public_id",
]
