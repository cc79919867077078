"""Tasks that begin at once, on both event loops."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from app.transport.tasks import Tasks

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {
    "asyncio": None,
    "uvloop": uvloop.new_event_loop,
}


class Seen:
    """Starts coroutines; records the calls of the loop's exception handler and of `done`."""

    def __init__(self) -> None:
        self.tasks = Tasks()
        self.done: list[asyncio.Task[None]] = []
        self.errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: self.errors.append(context.get("exception") or Exception(context))
        )

    def start(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        return self.tasks.start(coroutine, self.done.append)

    async def settled(self, done: int) -> None:
        async with asyncio.timeout(5):
            while len(self.done) < done:
                await asyncio.sleep(0)


def on_both_loops(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on asyncio's loop and on uvloop; an unexpected error of the loop fails it."""

    @functools.wraps(test)
    def wrapped(loop: str, **arguments: Any) -> None:
        async def main() -> None:
            seen = Seen()
            await asyncio.wait_for(test(seen, **arguments), 10)
            await asyncio.sleep(0)
            gc.collect()
            assert not seen.errors

        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(main())

    _, *parameters = inspect.signature(test).parameters.values()
    parameters.append(inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY))
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    marked: Callable[..., None] = pytest.mark.parametrize("loop", LOOPS)(wrapped)
    return marked


def current() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def turn() -> None:
    """Wait without a future."""
    await asyncio.sleep(0)


async def timer() -> None:
    """Wait for a future."""
    await asyncio.sleep(0.001)


async def child() -> None:
    """Wait for another task."""
    await asyncio.create_task(asyncio.sleep(0))


pauses = pytest.mark.parametrize("pause", [turn, timer, child])
