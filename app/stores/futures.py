"""Results for callers that await a store."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger("latchkey.store")


def resolve(future: asyncio.Future[Any], outcome: object) -> None:
    """Set the result of a caller's future, or its exception if the outcome is one.

    Does nothing if the future is done. Never raises, so that one caller cannot keep the others
    from their results.
    """
    try:
        if future.done():
            return
        if not isinstance(outcome, Exception):
            future.set_result(outcome)
        elif isinstance(outcome, StopIteration):  # a future cannot raise it
            future.set_exception(RuntimeError(f"a store raised {outcome!r}"))
        else:
            future.set_exception(outcome)
    except Exception:
        log.exception("a caller of the store could not be answered")
