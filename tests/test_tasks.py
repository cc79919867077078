"""Tasks that run at once, and that are used again: by themselves, without a server."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from app.handoff import Handoff, handoff
from app.transport import tasks
from app.transport.tasks import Tasks
from tests.transport_kit import run

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")
by_hand = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="from Python 3.12 on asyncio itself starts them eagerly"
)
STEPS = [tasks.step_in_python, tasks.first_step]


@pytest.fixture(params=STEPS, autouse=True)
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with the step in Python and with the compiled one."""
    monkeypatch.setattr(tasks, "first_step", request.param)


async def turn() -> None:
    """Wait for nothing that has a future."""
    await asyncio.sleep(0)


async def future() -> None:
    await asyncio.sleep(0.001)


async def handed() -> None:
    """Wait for what somebody else hands over, at once."""
    waited = handoff(asyncio.get_running_loop())
    asyncio.get_running_loop().call_later(0.001, give, waited)
    await waited


def give(waited: Handoff[None]) -> None:
    if not waited.done():
        waited.give(None)


@pytest.fixture(params=[turn, future, handed], autouse=True)
def pause(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And with each of the things that a coroutine may wait for."""
    monkeypatch.setattr(Seen, "pause", staticmethod(request.param), raising=False)


def own() -> str:
    """Return the name of this task, which no other has; who keeps the task leaves a trace."""
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


class Seen:
    """What coroutines note: the task that they were in, and how often they were done."""

    pause: Callable[[], Coroutine[Any, Any, None]]  # waits for a moment

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self.done = 0
        self.others = asyncio.all_tasks()
        self.started = Tasks()

    def count(self, waiting: object) -> None:
        self.done += 1

    def start(self, coroutine: Coroutine[Any, Any, None]) -> bool:
        """Tell whether it waits."""
        return self.started.start(coroutine, self.count)

    async def note(self, waits: Any = None) -> None:
        self.tasks.append(own())
        if waits is not None:
            await waits
            assert self.tasks.count(own())

    def kept(self) -> set[asyncio.Task[Any]]:
        """Tasks that were made since."""
        return asyncio.all_tasks() - self.others

    def latest(self) -> asyncio.Task[Any]:
        """Return the task that was noted last."""
        (task,) = (task for task in self.kept() if task.get_name() == self.tasks[-1])
        return task

    async def settled(self, done: int) -> None:
        async with asyncio.timeout(5):
            while self.done < done:
                await asyncio.sleep(0)


def test_what_ends_at_once_has_ended_when_start_returns() -> None:
    """And is told by what it returns, not by `done`."""

    async def main() -> None:
        seen = Seen()
        outer = asyncio.current_task()
        assert seen.start(seen.note()) is False
        assert outer is not None
        assert seen.tasks != [outer.get_name()]
        assert asyncio.current_task() is outer
        await asyncio.sleep(0)
        assert seen.done == 0

    run(main())


def test_outside_of_a_task_there_is_none_afterwards() -> None:
    """A callback of the loop starts them, as a protocol does."""

    async def main() -> None:
        seen = Seen()
        after: list[Any] = []

        def callback() -> None:
            seen.start(seen.note(seen.pause()))
            after.append(asyncio.current_task())

        asyncio.get_running_loop().call_soon(callback)
        await seen.settled(1)
        assert after == [None]

    run(main())


@by_hand
def test_one_task_serves_all_that_leave_no_trace() -> None:
    """Those that wait and those that do not; no more of them are there than wait at once."""

    async def main() -> None:
        seen = Seen()
        for count in range(5):
            seen.start(seen.note())
            assert seen.start(seen.note(seen.pause())) is True
            await seen.settled(count + 1)
        assert len(set(seen.tasks)) == 1
        loop = asyncio.get_running_loop()
        gate = loop.create_future()
        assert all(seen.start(seen.note(asyncio.shield(gate))) for _ in range(3))
        gate.set_result(None)
        await seen.settled(8)
        seen.start(seen.note())
        assert len(set(seen.tasks)) == 3

    run(main())


@by_hand
def test_a_trace_in_the_context_ends_the_task() -> None:
    """Whether or not it waited; what comes next gets a clean one."""

    async def main() -> None:
        seen = Seen()
        found: list[str] = []

        async def leave(waits: bool) -> None:
            found.append(mark.get())
            mark.set("was here")
            await seen.note(seen.pause() if waits else None)

        for count, waits in enumerate((False, True, True, False)):
            seen.start(leave(waits))
            await seen.settled(min(count, 2))
        seen.start(seen.note())
        assert found == [""] * 4
        assert len(set(seen.tasks)) == 5
        await asyncio.sleep(0.01)
        assert seen.kept() == {seen.latest()}

    run(main())


def test_a_cancellation_is_for_the_coroutine_that_waits() -> None:
    """It may refuse; either way `done` is called once and the next one is not cancelled."""

    async def main() -> None:
        seen = Seen()
        refused: list[bool] = []

        async def stubborn() -> None:
            try:
                await seen.note(asyncio.sleep(5))
            except asyncio.CancelledError:
                await seen.pause()
                refused.append(True)

        for count, coroutine in enumerate((seen.note(asyncio.sleep(5)), stubborn())):
            seen.start(coroutine)
            if count:
                await asyncio.sleep(0)  # the task has begun to wait itself
            seen.latest().cancel()
            await seen.settled(count + 1)
        assert refused == [True]
        seen.start(seen.note(seen.pause()))
        await seen.settled(3)
        assert seen.done == 3

    run(main())


@by_hand
def test_a_parked_task_may_be_cancelled() -> None:
    """As `asyncio.run` does at its end; whoever starts something later gets another one."""

    async def main() -> None:
        seen = Seen()
        seen.start(seen.note(seen.pause()))
        await seen.settled(1)
        (parked,) = seen.kept()
        parked.cancel()
        await asyncio.wait({parked})
        seen.start(seen.note(seen.pause()))
        await seen.settled(2)
        assert parked.cancelled()
        assert parked.get_name() not in seen.tasks[1:]

    run(main())


@by_hand
def test_after_a_rush_not_all_tasks_are_kept() -> None:
    """Each of them is two kilobytes."""

    async def main() -> None:
        seen = Seen()
        for _ in range(400):
            seen.start(seen.note(seen.pause()))
        await seen.settled(400)
        await asyncio.sleep(0.01)
        assert len(seen.kept()) == 256

    run(main())


def test_a_timeout_ends_a_wait_and_only_that() -> None:
    """Of one future after another, in whatever way each is waited for."""

    async def main() -> None:
        seen = Seen()
        order: list[str] = []

        async def impatient() -> None:
            for wait in (asyncio.sleep(5), asyncio.shield(asyncio.sleep(0.05)), seen.pause()):
                try:
                    async with asyncio.timeout(0.01):
                        await wait
                except TimeoutError:
                    order.append("late")
                else:
                    order.append("in time")
            task = asyncio.current_task()
            assert task is not None
            assert not task.cancelling()

        seen.start(impatient())
        await seen.settled(1)
        assert order == ["late", "late", "in time"]
        await asyncio.sleep(0.06)

    run(main())


def test_a_future_that_fails_or_is_cancelled_says_so() -> None:
    """Where it is awaited, as in any task."""

    async def main() -> None:
        seen = Seen()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in range(3)]
        heard: list[Any] = []

        async def hear() -> None:
            for future in futures:
                try:
                    heard.append(await future)
                except (LookupError, asyncio.CancelledError) as error:
                    heard.append(type(error))

        seen.start(hear())
        await asyncio.sleep(0)
        futures[0].set_exception(LookupError())
        futures[1].cancel()
        futures[2].set_result("result")
        await seen.settled(1)
        assert heard == [LookupError, asyncio.CancelledError, "result"]

    run(main())


def test_a_cancellation_that_comes_with_the_result_is_the_one_that_counts() -> None:
    """As in any task: the future is done, and nobody has gone on yet."""

    async def main() -> None:
        seen = Seen()
        future = asyncio.get_running_loop().create_future()
        seen.start(seen.note(future))
        await asyncio.sleep(0)
        future.set_result(None)
        task = seen.latest()
        task.cancel()
        await seen.settled(1)
        await asyncio.sleep(0.01)
        assert task.cancelled()

    run(main())


@pytest.mark.parametrize("turns", [0, 2])
def test_a_result_that_comes_with_a_cancellation_is_too_late(turns: int) -> None:
    """The coroutine does not go on, wherever its task is; and the next one is not cancelled."""

    async def main() -> None:
        seen = Seen()
        loop = asyncio.get_running_loop()
        went_on: list[str] = []

        async def wait(waited: Handoff[None]) -> None:
            try:
                async with asyncio.timeout(None) as timeout:
                    loop.call_soon(end, timeout, waited, turns)
                    await waited
                    went_on.append("with a result")
            except TimeoutError:
                went_on.append("late")

        def end(timeout: asyncio.Timeout, waited: Handoff[None], turns: int) -> None:
            if turns:
                loop.call_soon(end, timeout, waited, turns - 1)
                return
            timeout.reschedule(loop.time())
            loop.call_soon(give, waited)

        for done in (1, 2):
            seen.start(wait(handoff(loop)))
            await seen.settled(done)
        seen.start(seen.note(seen.pause()))
        seen.start(seen.note(seen.pause()))
        await seen.settled(4)
        assert went_on == ["late", "late"]

    run(main())


def test_a_result_right_after_a_cancellation_is_too_late_at_once() -> None:
    """Though the task itself has not had a turn of the loop yet."""

    async def main() -> None:
        seen = Seen()
        loop = asyncio.get_running_loop()
        waited = handoff(loop)
        went_on: list[bool] = []

        async def wait() -> None:
            await seen.note(waited)
            went_on.append(True)

        seen.start(wait())
        task = seen.latest()
        task.cancel()
        give(waited)
        await seen.settled(1)
        await asyncio.sleep(0.01)
        assert task.cancelled()
        assert not went_on

    run(main())


def test_a_cancellation_that_was_taken_back_is_nobodys() -> None:
    """Not even if it was on its way when the coroutine ended."""

    async def main() -> None:
        seen = Seen()
        went_on: list[bool] = []

        async def change_its_mind() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            task.uncancel()

        async def wait() -> None:
            await asyncio.sleep(0.01)
            went_on.append(True)

        for count in (1, 2):
            seen.start(change_its_mind())
            seen.start(wait())
            await seen.settled(count)
        assert went_on == [True, True]

    run(main())


def test_who_keeps_a_task_cancels_no_other_coroutine() -> None:
    """Of the searches of one client, say, where the latest wins."""

    async def main() -> None:
        seen = Seen()
        latest: list[asyncio.Task[Any]] = []
        innocent: list[int] = []

        async def search(waits: bool) -> None:
            task = asyncio.current_task()
            assert task is not None
            latest.append(task)
            if waits:
                await seen.pause()

        async def wait(number: int) -> None:
            await asyncio.sleep(0.005)
            innocent.append(number)

        for number in range(6):
            seen.start(search(waits=number % 2 == 0))
            await asyncio.sleep(0.01)
            seen.start(wait(number))
            latest.pop().cancel()  # which is over
            await seen.settled(number + 1 + (number + 2) // 2)
        assert innocent == list(range(6))

    run(main())


def test_a_coroutine_that_ends_as_cancelled_before_it_waits_has_ended() -> None:
    """It is nothing that whoever started it has to hear of."""

    async def main() -> None:
        seen = Seen()

        async def give_up() -> None:
            raise asyncio.CancelledError

        assert seen.start(give_up()) is False
        await asyncio.sleep(0)
        assert not seen.kept()
        seen.start(seen.note(seen.pause()))
        await seen.settled(1)

    run(main())


def test_an_error_comes_out_where_it_was_raised() -> None:
    """Of the part that runs at once in `start`, of the other part in the task; none is stuck."""

    async def main() -> None:
        seen = Seen()
        told: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

        async def fail(waits: bool) -> None:
            if waits:
                await seen.pause()
            raise LookupError

        if sys.version_info < (3, 12):
            with pytest.raises(LookupError):
                seen.start(fail(False))
        seen.start(fail(True))
        await seen.settled(1)
        await asyncio.sleep(0.01)
        gc.collect()
        assert [type(error) for error in told] == [LookupError]
        assert not seen.kept()

    run(main())


@by_hand
def test_what_is_handed_over_is_taken_at_once() -> None:
    """Who gives it finds the coroutine gone on, and has nothing to do with how that fails."""

    async def main() -> None:
        seen = Seen()
        told: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
        waited = [handoff(loop) for _ in range(3)]

        async def take() -> None:
            for each in waited:
                seen.tasks.append(own())
                await each
            raise LookupError

        seen.start(take())
        for taken, each in enumerate(waited, 1):
            assert len(seen.tasks) == taken
            each.give(None)
        assert seen.done == 1
        assert told == []
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [LookupError]
        assert len(set(seen.tasks)) == 1

    run(main())


@by_hand
def test_who_hands_over_is_not_told_what_goes_wrong_at_the_end() -> None:
    """And the worker ends, where it is who hears of the end that fails."""

    async def main() -> None:
        seen = Seen()
        told: list[BaseException] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))

        def failing(_: object) -> None:
            seen.done += 1
            raise IndexError

        waited = handoff(loop)
        seen.started.start(seen.note(waited), failing)
        waited.give(None)
        await asyncio.sleep(0.01)
        assert [type(error) for error in told] == [IndexError]
        assert seen.done == 1
        assert not seen.kept()

    run(main())


def test_what_waits_is_not_collected() -> None:
    """Though nobody but the task itself knows of it, and the loop's reference is weak."""

    async def main() -> None:
        seen = Seen()
        futures: list[Any] = []

        async def wait() -> None:
            future = asyncio.get_running_loop().create_future()
            futures.append(id(future))
            asyncio.get_running_loop().call_later(0.05, gc.collect)
            asyncio.get_running_loop().call_later(0.1, lambda: found().set_result(None))
            await future

        def found() -> Any:
            return next(item for item in gc.get_objects() if id(item) == futures[0])

        seen.start(wait())
        await seen.settled(1)

    run(main())


@pytest.mark.parametrize("step", STEPS, indirect=True)
def test_a_step_tells_what_is_waited_for(step: None) -> None:
    """Or that there was nothing to wait for; the dict of tasks is as before."""
    loop, task, ended = object(), object(), object()
    step_here: Any = tasks.first_step
    for before in ({}, {loop: "outer"}):
        current: dict[Any, Any] = dict(before)

        async def look(waits: bool, current: dict[Any, Any] = current) -> None:
            assert current[loop] is task
            mark.set("inside")
            if waits:
                await asyncio.sleep(0)

        context = contextvars.Context()
        assert step_here(ended, current, loop, task, context, look(False)) is ended
        assert context[mark] == "inside"
        waiting = look(True)
        assert step_here(ended, current, loop, task, context, waiting) is None
        waiting.close()
        assert current == before
    assert mark.get() == ""
