"""Wait for a condition."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any


async def until(condition: Any, seconds: float = 15.0) -> None:
    """Wait until `condition()`, which may return an awaitable, is true; fail after `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (await met if inspect.isawaitable(met := condition()) else met):
        assert asyncio.get_running_loop().time() < deadline, (
            "the condition did not become true in time"
        )
        await asyncio.sleep(0.01)
