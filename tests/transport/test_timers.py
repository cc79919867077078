"""The timer wheel behind all deadlines, with a clock that the tests set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from app.transport.timers import Alarm, Timer, Wheel


class Call(Timer):
    """Calls a function when it is due."""

    def __init__(self, function: Callable[[], object]) -> None:
        super().__init__()
        self._function = function

    def run(self) -> None:
        self._function()


class Ticking(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer, so that tests do not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        scheduled = self._scheduled  # type: ignore[attr-defined]
        if scheduled and not self._ready:  # type: ignore[attr-defined]
            self.now = max(self.now, scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


def ticking(test: Callable[[], Any]) -> Callable[[], None]:
    """Run a coroutine test on such a loop."""

    def wrapped() -> None:
        with asyncio.Runner(loop_factory=Ticking) as runner:
            runner.run(test())

    wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
    return wrapped


def now() -> float:
    return asyncio.get_running_loop().time()


def noted(ran: list[float]) -> Timer:
    """A timer that records its times, in seconds since the loop began."""
    return Call(lambda: ran.append(now() - 1000))


@ticking
async def test_a_timer_runs_once_within_one_resolution_after_it_is_due() -> None:
    """It never runs early."""
    wheel = Wheel(0.5)
    ran: list[list[float]] = [[] for _ in range(40)]
    for n, times in enumerate(ran):
        wheel.start(noted(times), n / 10)
    await asyncio.sleep(10)
    for n, times in enumerate(ran):
        assert len(times) == 1
        assert n / 10 <= times[0] <= n / 10 + 0.5


@ticking
async def test_a_timer_may_be_postponed_repeatedly() -> None:
    """It runs at its last time, and a postponement takes no slot."""
    wheel = Wheel(0.5)
    ran: list[float] = []
    timer = noted(ran)
    for _ in range(30):
        wheel.start(timer, 3)
        assert len(wheel._slots) == 1
        await asyncio.sleep(1)
    assert not ran
    await asyncio.sleep(10)
    assert len(ran) == 1
    assert 32 <= ran[0] <= 32.5


@ticking
async def test_a_timer_may_be_brought_forward() -> None:
    """The wheel wakes up for it, and not again at the earlier time."""
    wheel = Wheel(0.5)
    ran: list[float] = []
    timer = noted(ran)
    wheel.start(timer, 60)
    wheel.start(timer, 2)
    await asyncio.sleep(100)
    assert len(ran) == 1
    assert 2 <= ran[0] <= 2.5


@ticking
async def test_an_earlier_timer_does_not_wait_for_later_ones() -> None:
    """The later timers still run."""
    wheel = Wheel(0.5)
    late: list[float] = []
    early: list[float] = []
    wheel.start(noted(late), 20)
    wheel.start(noted(early), 1)
    await asyncio.sleep(5)
    assert len(early) == 1
    assert not late
    await asyncio.sleep(20)
    assert len(late) == 1


@ticking
async def test_a_stopped_timer_does_not_run() -> None:
    """It can be started again; stopping it twice is allowed."""
    wheel = Wheel(0.5)
    ran: list[float] = []
    timer = noted(ran)
    wheel.start(timer, 1)
    wheel.stop(timer)
    wheel.stop(timer)
    await asyncio.sleep(3)
    assert not ran
    wheel.start(timer, 1)
    await asyncio.sleep(3)
    assert len(ran) == 1


@ticking
async def test_a_timer_may_stop_the_others_of_its_slot() -> None:
    """A connection does so when it closes others."""
    wheel = Wheel(0.5)
    ran: list[float] = []
    timers: list[Timer] = []

    def stop_all() -> None:
        ran.append(now())
        for timer in timers:
            wheel.stop(timer)

    timers += [Call(stop_all) for _ in range(10)]
    for timer in timers:
        wheel.start(timer, 1)
    await asyncio.sleep(3)
    assert len(ran) == 1


@ticking
async def test_a_timer_may_restart_itself() -> None:
    """With a delay of 0 it runs in the next slot."""
    wheel = Wheel(0.5)
    ran: list[float] = []

    def again() -> None:
        ran.append(now())
        if len(ran) < 10:
            wheel.start(timer, 0)

    timer = Call(again)
    wheel.start(timer, 0)
    await asyncio.sleep(6)
    assert len(ran) == 10
    assert not wheel._slots


@ticking
async def test_extensions_do_not_add_up_the_delay_of_the_wheel() -> None:
    """Interval and timeout together are late by one resolution, and not by two."""
    wheel = Wheel(0.5)
    ran: list[float] = []

    def beat() -> None:
        ran.append(now() - 1000)
        if len(ran) < 8:
            wheel.extend(timer, 1.1)

    timer = Call(beat)
    wheel.start(timer, 1.1)
    await asyncio.sleep(20)
    for n, at in enumerate(ran, 1):
        assert n * 1.1 <= at + 1e-6
        assert at <= n * 1.1 + 0.5 + 1e-6


@ticking
async def test_a_blocked_loop_does_not_shorten_the_next_delay() -> None:
    """A client has its whole time to answer, even if it was asked late."""
    loop: Any = asyncio.get_running_loop()
    wheel = Wheel(0.5)
    ran: list[float] = []
    answer = noted(ran)
    ask = Call(lambda: wheel.extend(answer, 5))
    wheel.start(answer, 1)
    wheel.stop(answer)
    wheel.start(ask, 1)
    loop.now += 60
    await asyncio.sleep(20)
    assert len(ran) == 1
    assert ran[0] >= 64.5


@ticking
async def test_an_alarm_on_time_is_not_late() -> None:
    """Requests that the loop reads before the alarm's function runs are judged by the deadline."""
    late: list[bool] = []
    alarm = Alarm(lambda: None)
    alarm.set(now() + 1)
    asyncio.get_running_loop().call_at(now() + 1, lambda: late.append(alarm.late))
    await asyncio.sleep(2)
    assert late == [False]


@ticking
async def test_an_exception_in_a_timer_is_reported_and_stops_no_other() -> None:
    """The timers of other connections run."""
    wheel = Wheel(0.5)
    ran: list[float] = []
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))

    def fail() -> None:
        raise RuntimeError("this timer fails")

    for timer in (Call(fail), noted(ran), Call(fail), noted(ran)):
        wheel.start(timer, 1)
    await asyncio.sleep(3)
    assert len(ran) == 2
    assert [str(told["exception"]) for told in complaints] == ["this timer fails"] * 2


@ticking
async def test_a_closed_wheel_runs_no_timer() -> None:
    """It schedules nothing, and can be used again."""
    loop: Any = asyncio.get_running_loop()
    wheel = Wheel(0.5)
    ran: list[float] = []
    wheel.start(noted(ran), 1)
    wheel.close()
    assert not [handle for handle in loop._scheduled if not handle.cancelled()]
    await asyncio.sleep(3)
    assert not ran
    wheel.start(noted(ran), 9)
    await asyncio.sleep(20)
    assert len(ran) == 1
