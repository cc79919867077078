"""Who is told of something that has happened, and how."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import ParamSpec

log = logging.getLogger("latchkey.listeners")
P = ParamSpec("P")


class Listeners(list[Callable[P, Awaitable[None] | None]]):
    """Functions, `async` or not, that are called one after the other when something happens."""

    def __init__(self, event: str) -> None:
        """`event` is what happens, as the log names it."""
        super().__init__()
        self._event = event

    async def tell(self, *args: P.args, **options: P.kwargs) -> None:
        """Call all; one that raises is logged and does not keep the others from hearing."""
        for listener in self:
            try:
                told = listener(*args, **options)
                if told is not None:
                    await told
            except Exception:
                log.exception("a listener to %s failed", self._event)
