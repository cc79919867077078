import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

def first_step(
    ended: object,
    current_tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[None]],
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[None],
    context: Context,
    coroutine: Coroutine[Any, Any, None],
    /,
) -> Any: ...
