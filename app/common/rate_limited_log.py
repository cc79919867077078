"""A rate-limited log, for lines that many clients cause at once.

Errors of clients are such lines, and the requests and events that fail while a store is down.
"""

from __future__ import annotations

import logging
import re
import time

_PER_SECOND = 5
_UNSEEN = re.compile(r"[^ -~]")


def _one_line(text: object) -> str:
    """Write what could end a line, or steer a terminal, as Python does in a literal."""
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], str(text))


class RateLimitedLog:
    """Writes at most five lines a second, and the number of those left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._count = 0
        self._since = 0.0

    def add(self, source: object, message: object) -> None:
        """Log one line; cut a client's own words in it short and quote them by `repr`."""
        now = time.monotonic()
        if now - self._since >= 1:
            if self._count > _PER_SECOND:
                self._log.warning("%d more lines were left out", self._count - _PER_SECOND)
            self._count, self._since = 0, now
        self._count += 1
        if self._count <= _PER_SECOND:
            self._log.warning("%s: %s", _one_line(source), _one_line(message))
