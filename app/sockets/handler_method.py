"""A method of a namespace that handles an event."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from app.common.histogram import Histogram


class EventHandler:
    """A method, and how many arguments it takes."""

    __slots__ = ("is_async", "maximum", "method", "minimum", "seconds")

    def __init__(self, method: Callable[..., Any], seconds: Histogram) -> None:
        """`seconds` counts how long events take."""
        self.method = method
        self.seconds = seconds
        self.is_async = inspect.iscoroutinefunction(method)
        self.minimum = self.maximum = 0
        for parameter in inspect.signature(method).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.maximum = sys.maxsize
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                self.maximum += 1
                self.minimum += parameter.default is parameter.empty

    def require(self, check: Callable[[str], Awaitable[None]]) -> None:
        """Await `check` with the sid before each event; what it raises is the ack."""
        method = self.method

        async def checked(sid: str, *args: Any) -> Any:
            await check(sid)
            result = method(sid, *args)
            return await result if inspect.isawaitable(result) else result

        self.method, self.is_async = checked, True

    async def call(self, *arguments: Any) -> Any:
        """Call the method without the last arguments if its signature has no room for them."""
        result = self.method(*arguments[: self.maximum])
        return await result if inspect.isawaitable(result) else result
