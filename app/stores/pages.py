"""All records of a store, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator

from app.stores.protocol import SessionStore
from app.stores.record import Record


async def pages_of(store: SessionStore, size: int) -> AsyncIterator[list[Record]]:
    """Yield all records in pages of some `size` records; raises StoreUnavailable.

    As with `scan`, a record may come twice.
    """
    cursor = ""
    while True:
        page, cursor = await store.scan(cursor, size)
        yield page
        if not cursor:
            return
