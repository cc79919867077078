"""Keep a loop going when one of its elements fails."""

from __future__ import annotations

import logging
from types import TracebackType


class logged:  # noqa: N801  # used like a function: `with logged(log, "...")`
    """Log an exception of the block, and go on after it.

    A loop over connections, listeners, timers or messages wraps the work on each element in one,
    so that the failure of one element does not reach the others. Cancellations and exits pass.
    """

    __slots__ = ("_arguments", "_log", "_message")

    def __init__(self, log: logging.Logger, message: str, *arguments: object) -> None:
        """`message` and `arguments` are what `Logger.error` takes."""
        self._log = log
        self._message = message
        self._arguments = arguments

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._log.error(self._message, *self._arguments, exc_info=error)
        return True
