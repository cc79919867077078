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
        if isinstance(outcome, StopIteration):  # a future cannot raise it
            outcome = RuntimeError(f"a store raised {outcome!r}")
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    except Exception:
        log.exception("a caller of the store could not be answered")
