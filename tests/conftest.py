"""How tests run: coroutines on a loop of their own, each with a time limit."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

_LIMIT = 30.0  # seconds that a test may take unless it says `@pytest.mark.limit(seconds)`


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a new event loop and end it when its time is over."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    mark = pyfuncitem.get_closest_marker("limit")
    limit = float(mark.args[0]) if mark else _LIMIT
    arguments: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames
    }

    async def limited() -> None:
        await asyncio.wait_for(pyfuncitem.obj(**arguments), limit)

    asyncio.run(limited())
    return True
