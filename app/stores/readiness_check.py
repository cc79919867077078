"""The check whether a session store works."""

from __future__ import annotations

import logging

from app.stores.errors import StoreError
from app.stores.protocol import SessionStore

log = logging.getLogger("latchkey.sessions")


class StoreCheck:
    """Checks a store and logs why it does not work, once for each reason."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._failure = ""

    async def works(self) -> bool:
        """Whether the store can be written and read."""
        failure = ""
        try:
            await self._store.ping()
        except StoreError as error:
            failure = str(error)
        if failure and failure != self._failure:
            log.error("the session store does not work: %s", failure)
        self._failure = failure
        return not failure
