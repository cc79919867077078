"""Session stores: their interface, records and errors; memory, sqlite/ and redis/.

Knows neither Tornado nor Socket.IO. Imports common.
"""

from app.stores.errors import (
    HidesSessionId,
    LeaseLost,
    RecordGone,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)
from app.stores.pages import pages_of
from app.stores.protocol import MAX_LISTED, Lease, SessionStore
from app.stores.record import Record, public_id

__all__ = [
    "MAX_LISTED",
    "HidesSessionId",
    "Lease",
    "LeaseLost",
    "Record",
    "RecordGone",
    "SessionStore",
    "StoreBusy",
    "StoreError",
    "StoreUnavailable",
    "pages_of",
    "public_id",
]
