"""What many meet at once, in the log: one line each, and only so many a second.

That is what clients do wrong, and what an outage of the store does to all of them.
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


class Complaints:
    """A log that neither hostile clients nor an outage fill; lines left out are counted."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._count = 0
        self._since = 0.0

    def add(self, who: object, why: object) -> None:
        """Log one line; a client's own words in it must be short, and best quoted by `repr`."""
        now = time.monotonic()
        if now - self._since >= 1:
            if self._count > _PER_SECOND:
                self._log.warning("%d more lines were left out", self._count - _PER_SECOND)
            self._count, self._since = 0, now
        self._count += 1
        if self._count <= _PER_SECOND:
            self._log.warning("%s: %s", _one_line(who), _one_line(why))
