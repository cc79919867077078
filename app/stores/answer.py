"""Results for callers that wait for a store."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger("latchkey.stores")


def answer(waiter: asyncio.Future[Any], outcome: object) -> None:
    """Give a waiter its result, or raise the outcome there if it is an Exception.

    It does nothing if the waiter is done, and never raises: whoever answers many goes on with
    the next one.
    """
    try:
        if waiter.done():
            return
        if isinstance(outcome, StopIteration):  # a future cannot raise it
            outcome = RuntimeError(f"a store raised {outcome!r}")
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
    except Exception:
        log.exception("a caller of the store could not be answered")
