"""Tasks that begin at once: each coroutine has its own task and its own context."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import types
import weakref
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.begun_tasks import (
    Seen,
    current,
    on_both_loops,
    pauses,
    timer,
    turn,
)

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


@on_both_loops
async def test_a_coroutine_that_does_not_wait_has_ended_when_start_returns(seen: Seen) -> None:
    ended = []

    async def work() -> None:
        ended.append(current())

    assert seen.start(work()) is False
    assert len(ended) == 1
    await turn()
    await turn()
    assert ended[0].done()
    assert seen.done == []


@on_both_loops
async def test_the_outer_task_is_current_again(seen: Seen) -> None:
    outer, inner = current(), []

    async def work() -> None:
        inner.append(current())
        seen.start(nested())
        inner.append(current())

    async def nested() -> None:
        inner.append(current())
        await turn()

    seen.start(work())
    assert current() is outer
    first, second, third = inner
    assert first is third
    assert len({outer, first, second}) == 3
    await seen.settled(1)


@on_both_loops
async def test_a_callback_of_the_loop_has_no_current_task_afterwards(seen: Seen) -> None:
    """A protocol starts coroutines from such a callback."""
    after: list[Any] = []

    def callback() -> None:
        seen.start(turn())
        after.append(asyncio.current_task())

    asyncio.get_running_loop().call_soon(callback)
    await seen.settled(1)
    assert after == [None]


@pauses
@on_both_loops
async def test_each_coroutine_has_one_task_of_its_own(seen: Seen, pause: Any) -> None:
    """The next coroutine does not see names set on the task."""
    kept: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
    released: list[str] = []
    tasks = []

    async def work(name: str, waits: bool) -> None:
        task: Any = current()
        assert kept.get(task) is None
        assert not hasattr(task, "user")
        assert not task.get_name().startswith("user")
        kept[task] = task.user = name
        task.set_name(f"user {name}")
        task.add_done_callback(lambda _: released.append(name))
        if waits:
            await pause()
            await pause()
            assert current() is task
            assert kept[current()] == name
        tasks.append(task)

    for number in range(6):
        seen.start(work(str(number), waits=number % 2 == 0))
        while len(released) <= number:
            await turn()
    assert len(set(tasks)) == 6
    assert released == list("012345")
    assert all(task.done() for task in tasks)


@pauses
@on_both_loops
async def test_each_coroutine_has_one_context_of_its_own(seen: Seen, pause: Any) -> None:
    found: list[str] = []

    async def work(name: str) -> None:
        found.append(mark.get())
        mark.set(name)
        await pause()
        found.append(mark.get())

    mark.set("outer")
    for number, name in enumerate("ab", 1):
        seen.start(work(name))
        await seen.settled(number)
    assert found == ["", "a", "", "b"]
    assert mark.get() == "outer"


@pauses
@on_both_loops
async def test_tasks_end_in_any_order_and_call_done_once(seen: Seen, pause: Any) -> None:
    order: list[int] = []

    async def work(number: int) -> None:
        for _ in range(3 - number):
            await pause()
        order.append(number)

    assert [seen.start(work(number)) for number in range(4)] == [True, True, True, False]
    await seen.settled(3)
    assert order == [3, 2, 1, 0]
    assert len(set(seen.done)) == 3
    assert all(task.done() for task in seen.done)


@pytest.mark.parametrize("turns", [0, 1, 2])
@on_both_loops
async def test_a_cancelled_wait_ends(seen: Seen, turns: int) -> None:
    """The cancellation may come before the task itself begins to wait."""
    tasks = []

    async def work() -> None:
        tasks.append(current())
        await asyncio.sleep(5)

    seen.start(work())
    for _ in range(turns):
        await turn()
    assert tasks[0].cancel("because")
    await seen.settled(1)
    assert tasks[0].cancelled()


@pytest.mark.parametrize("turns", [0, 2])
@on_both_loops
async def test_the_result_of_a_future_reaches_its_awaiting_coroutine(
    seen: Seen, turns: int
) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(3)]
    heard: list[Any] = []

    async def hear(future: asyncio.Future[Any]) -> None:
        try:
            heard.append(await future)
        except (LookupError, asyncio.CancelledError) as error:
            heard.append(type(error))

    for future in futures:
        seen.start(hear(future))
    for _ in range(turns):
        await turn()
    futures[0].set_exception(LookupError())
    futures[1].cancel()
    futures[2].set_result("result")
    await seen.settled(3)
    assert heard == [LookupError, asyncio.CancelledError, "result"]


@on_both_loops
async def test_several_may_begin_to_wait_for_one_future_together(seen: Seen) -> None:
    future = asyncio.get_running_loop().create_future()
    heard: list[Any] = []

    async def hear() -> None:
        heard.append(await future)

    for _ in range(3):
        seen.start(hear())
    usual = asyncio.create_task(hear())
    await turn()
    future.set_result("result")
    await seen.settled(3)
    await usual
    assert heard == ["result"] * 4


@on_both_loops
async def test_awaiting_a_wrong_object_fails_in_the_coroutine(seen: Seen) -> None:
    """It raises RuntimeError there, as in any task."""
    heard: list[str] = []

    @types.coroutine
    def foreign() -> Generator[Any, None, None]:
        yield "a word of another loop"

    async def work() -> None:
        for _ in range(2):
            try:
                await foreign()
            except RuntimeError as error:
                heard.append(str(error))

    seen.start(work())
    await seen.settled(1)
    assert len(heard) == 2
    assert all("bad yield" in error for error in heard)


@pytest.mark.parametrize("waits", [False, True])
@on_both_loops
async def test_an_error_reaches_the_exception_handler_of_the_loop(seen: Seen, waits: bool) -> None:
    """Errors of all steps do so, and the caller of `start` gets none."""

    async def work() -> None:
        if waits:
            await turn()
        raise LookupError

    assert seen.start(work()) is waits
    await seen.settled(int(waits))
    await turn()
    seen.done.clear()
    gc.collect()
    assert [type(error) for error in seen.errors] == [LookupError]
    seen.errors.clear()


@pytest.mark.parametrize("waits", [False, True])
@on_both_loops
async def test_a_coroutine_may_end_as_cancelled(seen: Seen, waits: bool) -> None:
    """The task is cancelled, and the exception handler is not called."""
    tasks = []

    async def work() -> None:
        tasks.append(current())
        if waits:
            await turn()
        raise asyncio.CancelledError

    assert seen.start(work()) is waits
    await turn()
    await turn()
    assert tasks[0].cancelled()


@on_both_loops
async def test_an_error_of_done_reaches_the_exception_handler_of_the_loop(seen: Seen) -> None:
    def fail(_: object) -> None:
        raise LookupError

    seen.tasks.start(turn(), fail)
    seen.start(timer())
    await seen.settled(1)
    assert [type(error) for error in seen.errors] == [LookupError]
    seen.errors.clear()


@on_both_loops
async def test_a_waiting_task_is_not_collected(seen: Seen) -> None:
    """The loop holds no reference to it, and nothing else refers to its future."""
    futures: list[int] = []

    async def work() -> None:
        future = asyncio.get_running_loop().create_future()
        futures.append(id(future))
        await future

    def found() -> Any:
        return next(item for item in gc.get_objects() if id(item) == futures[0])

    seen.start(work())
    await timer()
    gc.collect()
    found().set_result(None)
    await seen.settled(1)


@pauses
@on_both_loops
async def test_an_ended_task_is_gone_without_the_garbage_collector(seen: Seen, pause: Any) -> None:
    """No reference cycle keeps it alive."""
    kept: list[weakref.ref[Any]] = []

    async def work(waits: bool) -> None:
        kept.append(weakref.ref(current()))
        if waits:
            await pause()

    gc.collect()
    gc.disable()
    try:
        seen.start(work(False))
        seen.start(work(True))
        await seen.settled(1)
        seen.done.clear()
        await turn()
        assert [ref() for ref in kept] == [None, None]
    finally:
        gc.enable()


@on_both_loops
async def test_a_task_is_shown_with_the_name_of_its_coroutine(seen: Seen) -> None:
    """asyncio logs this name."""
    shown = []

    async def look_around() -> None:
        await turn()
        shown.append(repr(current()))

    seen.start(look_around())
    await seen.settled(1)
    assert "look_around" in shown[0]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio starts tasks eagerly")
async def test_asyncio_lets_other_code_set_the_current_task() -> None:
    """app/transport/eager_start.py uses these functions before Python 3.12."""
    loop, outer = asyncio.get_running_loop(), current()
    other: asyncio.Task[None] = asyncio.Task(turn(), loop=loop)
    with pytest.raises(RuntimeError):
        asyncio._enter_task(loop, other)
    asyncio._leave_task(loop, outer)
    asyncio._enter_task(loop, other)
    assert asyncio.current_task() is other
    asyncio._leave_task(loop, other)
    assert asyncio.current_task() is None
    asyncio._enter_task(loop, outer)
    future = loop.create_future()
    assert next(future.__await__()) is future
    assert future._asyncio_future_blocking is True
    future.cancel()
    await other
