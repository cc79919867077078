"""A clock that tests move."""

from __future__ import annotations

import time
from collections.abc import Callable


class MovableClock:
    """A `Clock` of sessions that stands still until a test moves it.

    It begins at the real time, because clients discard cookies that have expired.
    """

    def __init__(self) -> None:
        #: the time, in seconds since 1970
        self.now = time.time()
        self.on_step: list[Callable[[float], None]] = []
        self.in_doubt = False

    def __call__(self) -> float:
        return self.now
