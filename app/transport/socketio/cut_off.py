"""Handlers of sockets that still run when the process has to stop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import types
from collections import Counter
from typing import Any

from app.transport.tasks import Tasks

log = logging.getLogger("app.transport")

#: Seconds that handlers have to deal with their cancellation.
CANCEL_TIMEOUT = 0.5
#: Coroutines of the server that run a handler, by the name of the coroutine.
_HANDLERS = types.MappingProxyType(
    {"_join": "on_connect", "_run_disconnect": "on_disconnect", "_acknowledged": "callback"}
)


async def cut_off(tasks: Tasks, waited: float) -> None:
    """Cancel the handlers that still run after so many seconds; one log line for each kind."""
    waiting = tasks.waiting()
    kinds = Counter(_handler_of(task.get_coro()) for task in waiting)
    for (handler, namespace), count in kinds.items():
        log.warning(
            "handler cut off by the stop handler=%s namespace=%s count=%d after=%.1fs",
            handler,
            namespace,
            count,
            waited,
        )
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting, timeout=CANCEL_TIMEOUT)


def _handler_of(coroutine: Any) -> tuple[str, str]:
    """Return the name of the handler that a coroutine of the server runs, and its namespace.

    It is read from the coroutine when the process stops, so that no event has to note it.
    """
    found = inspect.getcoroutinelocals(coroutine)
    name = getattr(coroutine, "__name__", "")
    event = found["data"][0] if name == "_handle" else ""
    return _HANDLERS.get(name, f"on_{event}"[:100]), str(found.get("namespace", ""))
