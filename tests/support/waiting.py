"""Wait for a condition."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until `condition()`, or what it awaits, is true; fail when that takes too long."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (await met if inspect.isawaitable(met := condition()) else met):
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.01)
