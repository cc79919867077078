"""Tasks that begin at once end when they are cancelled or their time is over."""

from __future__ import annotations

import asyncio
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


@pytest.mark.parametrize("turns", [0, 2])
@pauses
@on_both_loops
async def test_a_coroutine_may_refuse_a_cancellation(seen: Seen, pause: Any, turns: int) -> None:
    heard: list[Any] = []

    async def work() -> None:
        heard.append(current())
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError as cancelled:
            current().uncancel()
            await pause()
            heard.append(cancelled.args)
        await pause()

    seen.start(work())
    for _ in range(turns):
        await turn()
    heard[0].cancel("because")
    await seen.settled(1)
    assert heard[1:] == [("because",)]
    assert not heard[0].cancelled()


@pytest.mark.parametrize("turns", [0, 2])
@on_both_loops
async def test_a_cancellation_reaches_the_awaited_task_first(seen: Seen, turns: int) -> None:
    """The coroutine continues when the awaited task has cleaned up."""
    order: list[Any] = []

    async def inner() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            await timer()
            order.append("inner")

    async def work() -> None:
        order.append(current())
        inside = asyncio.create_task(inner())
        await turn()  # it has begun
        seen.start(outer(inside))

    async def outer(inside: asyncio.Task[None]) -> None:
        order[0] = current()
        try:
            await inside
        finally:
            order.append("outer")

    seen.start(work())
    await turn()
    await turn()
    for _ in range(turns):
        await turn()
    order[0].cancel()
    await seen.settled(2)
    assert order[1:] == ["inner", "outer"]
    assert order[0].cancelled()


@on_both_loops
async def test_a_cancellation_wins_over_a_result_that_was_not_received(
    seen: Seen,
) -> None:
    """As in any task: the future is done, and the coroutine has not continued yet."""
    loop = asyncio.get_running_loop()
    for turns in range(3):
        future = loop.create_future()
        tasks: list[Any] = []

        async def work(future: Any = future, tasks: Any = tasks) -> None:
            tasks.append(current())
            await future

        seen.start(work())
        for _ in range(turns):
            await turn()
        future.set_result(None)
        tasks[0].cancel()
        await seen.settled(turns + 1)
        assert tasks[0].cancelled()


@on_both_loops
async def test_a_result_right_after_a_cancellation_is_too_late(seen: Seen) -> None:
    future = asyncio.get_running_loop().create_future()
    tasks: list[Any] = []

    async def work() -> None:
        tasks.append(current())
        await asyncio.shield(future)
        tasks.append("went on")

    seen.start(work())
    tasks[0].cancel()
    future.set_result(None)
    await seen.settled(1)
    assert tasks[0].cancelled()
    assert len(tasks) == 1


@on_both_loops
async def test_a_cancellation_after_the_end_changes_nothing(seen: Seen) -> None:
    """A caller may cancel a task that has ended, such as an earlier search."""
    tasks: list[Any] = []
    went_on: list[int] = []

    async def search(number: int, waits: bool) -> None:
        tasks.append(current())
        if waits:
            await turn()
        went_on.append(number)

    for number in range(6):
        seen.start(search(number, waits=False))
        tasks[-1].cancel()
        seen.start(search(number, waits=True))
        await seen.settled(number + 1)
        tasks[-1].cancel()
    await turn()
    assert went_on == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert not any(task.cancelled() for task in tasks)


@pauses
@on_both_loops
async def test_a_timeout_ends_a_wait_and_only_that(seen: Seen, pause: Any) -> None:
    order: list[str] = []
    never = asyncio.get_running_loop().create_future()

    async def work() -> None:
        for wait in (asyncio.sleep(5), asyncio.shield(never), pause()):
            try:
                async with asyncio.timeout(0.05):
                    await wait
            except TimeoutError:
                order.append("late")
            else:
                order.append("in time")
        assert not current().cancelling()

    seen.start(work())
    await seen.settled(1)
    assert order == ["late", "late", "in time"]
    assert not never.done()


@on_both_loops
async def test_a_timeout_that_is_over_at_once_ends_the_first_wait(seen: Seen) -> None:
    order: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.sleep(5)
        except TimeoutError:
            order.append("late")

    seen.start(work())
    await seen.settled(1)
    assert order == ["late"]


@on_both_loops
async def test_a_task_group_belongs_to_its_task(seen: Seen) -> None:
    order: list[str] = []

    async def fail() -> None:
        raise LookupError

    async def work() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(5))
                group.create_task(fail())
        except* LookupError:
            order.append("failed")
        await turn()
        order.append("went on")

    seen.start(work())
    await seen.settled(1)
    assert order == ["failed", "went on"]
