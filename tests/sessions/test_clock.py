"""Sessions and rates when the system's clock is set while the program runs."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from app.sessions.clock import SteadyClock
from tests.support.browsers import PythonVisitor, ended, joined
from tests.support.faketime import faketime
from tests.support.process import process
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

DAY = 86_400.0


class System:
    """The clocks of a machine: one that can be set, and one that cannot."""

    def __init__(self) -> None:
        self.steady = 1000.0
        self.set_by = 0.0
        self._began = time.time() - self.steady

    def wall(self) -> float:
        return self._began + self.steady + self.set_by

    def elapsed(self) -> float:
        return self.steady

    def clock(self) -> SteadyClock:
        return SteadyClock(self.wall, self.elapsed)


class Running(System):
    """The clocks of a machine on which time passes."""

    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()
        self.passed = 0.0  # seconds that went by at once, for tests that cannot wait

    def elapsed(self) -> float:
        self.steady = 1000.0 + time.monotonic() - self._start + self.passed
        return self.steady

    def wall(self) -> float:
        self.elapsed()
        return super().wall()


def test_a_listener_that_fails_stops_neither_the_clock_nor_the_other_listeners(
    caplog: pytest.LogCaptureFixture,
) -> None:
    system = System()
    clock = system.clock()
    heard: list[float] = []

    def fail(step: float) -> None:
        raise RuntimeError

    clock.on_step += [fail, heard.append]
    system.set_by = DAY
    for _ in range(700):
        system.steady += 1
        clock()
    assert heard == [pytest.approx(DAY)]
    assert clock() == pytest.approx(system.wall(), abs=0.01)
    assert "a listener to a step of the clock failed" in caplog.text


def test_it_begins_at_the_systems_time_and_runs_on() -> None:
    system = System()
    clock = system.clock()
    began = clock()
    assert began == pytest.approx(system.wall(), abs=0.01)
    for _ in range(100):
        system.steady += 0.7
        assert clock() == pytest.approx(system.wall(), abs=0.01)
    assert clock() == pytest.approx(began + 70, abs=0.01)


@pytest.mark.parametrize("step", [2 * DAY, -3600.0, 61.0, -61.0, 20 * 365 * DAY])
def test_a_step_that_is_undone_changes_nothing(step: float) -> None:
    """The time goes on evenly, during the step and after it."""
    system = System()
    clock = system.clock()
    began = clock()
    for second in range(900):
        system.set_by = step if second in range(100, 690) else 0.0
        system.steady += 1
        assert clock() == pytest.approx(began + second + 1, abs=0.01)


@pytest.mark.parametrize("step", [2 * DAY, -3600.0])
@pytest.mark.attack("A9")
def test_a_step_that_stays_is_followed_after_ten_minutes(step: float) -> None:
    system = System()
    clock = system.clock()
    system.set_by = step
    for _ in range(600):
        system.steady += 1
        assert abs(clock() - system.wall()) == pytest.approx(abs(step), abs=0.01)
    system.steady += 2
    assert clock() == pytest.approx(system.wall(), abs=0.01)


def test_small_corrections_are_followed_at_once() -> None:
    """A time server corrects a clock in small steps, forward and back."""
    system = System()
    clock = system.clock()
    for correction in (0.5, -1.0, 3.0, -4.0):
        system.set_by += correction
        system.steady += 1
        assert clock() == pytest.approx(system.wall(), abs=0.01)


def test_a_clock_that_keeps_jumping_is_not_followed() -> None:
    """Each new step has to last for ten minutes by itself."""
    system = System()
    clock = system.clock()
    began = clock()
    for second in range(3600):
        system.set_by = DAY * (second // 300 % 5 + 1)
        system.steady += 1
        assert clock() == pytest.approx(began + second + 1, abs=0.01)


def test_a_step_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line has the size of the step; a second line says that the step is followed."""
    system = System()
    clock = system.clock()
    with caplog.at_level(logging.INFO, "latchkey.clock"):
        system.set_by = 2 * DAY
        for _ in range(300):
            system.steady += 1
            clock()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "step=+172800s" in caplog.text
        for _ in range(310):
            system.steady += 1
            clock()
    assert len(caplog.records) == 2


def test_a_clock_that_jumps_back_and_forth_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    system = System()
    clock = system.clock()
    for second in range(600):
        system.set_by = DAY * (second % 2)
        system.steady += 1
        clock()
    assert 1 <= len(caplog.records) <= 11


async def step(site: Site, system: Running, seconds: float) -> None:
    """Set the system's clock, and let the program read it."""
    system.set_by += seconds
    system.passed += 1.1
    await site.services.expiry.run_round()


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_jump_of_two_days_signs_nobody_out(tmp_path: Path, store: str) -> None:
    """Users stay signed in with sockets and pages, active during the jump or not."""
    system = Running()
    async with (
        serve(tmp_path, store=store, clock=system.clock(), expiry_interval=0.05) as site,
        PythonVisitor(site.url) as ann,
        Visitor(site.url) as bob,
        Visitor(site.url) as eve,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        await eve.sign_up("eve")
        socket = await joined(ann, "websocket")
        await step(site, system, 2 * DAY)
        assert await socket.call("whoami") == "ann"
        assert (await bob.get("/account"))[0] == 200
        await step(site, system, -2 * DAY)
        assert ended(socket) == []
        assert await socket.call("whoami") == "ann"
        for visitor in (bob, eve):
            assert (await visitor.get("/account"))[0] == 200


async def test_an_event_during_a_jump_does_not_prolong_its_session(tmp_path: Path) -> None:
    """The session ends as idle at the time of the clock that cannot be set."""
    system = Running()
    async with (
        serve(tmp_path, clock=system.clock(), expiry_interval=0.05) as site,
        PythonVisitor(site.url) as ann,
    ):
        socket = await joined(ann, "websocket")
        await step(site, system, 365 * DAY)
        assert await socket.call("incr") == 1
        await step(site, system, -365 * DAY)
        system.passed += DAY + 10
        await until(lambda: bool(ended(socket)))


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_step_that_is_followed_signs_out_only_inactive_users(
    tmp_path: Path, store: str
) -> None:
    """Clients that were active while the clock was in doubt stay, with pages and with sockets."""
    system = Running()
    async with (
        serve(tmp_path, store=store, clock=system.clock(), expiry_interval=0.05) as site,
        PythonVisitor(site.url) as ann,
        Visitor(site.url) as bob,
        Visitor(site.url) as eve,
    ):
        for visitor, name in ((ann, "ann"), (bob, "bob"), (eve, "eve")):
            await visitor.sign_up(name)
        socket = await joined(ann, "websocket")
        await step(site, system, 2 * DAY)
        for _ in range(2):
            system.passed += 100  # so that what came before is written
            assert await socket.call("whoami") == "ann"
            assert (await bob.get("/account"))[0] == 200
            await site.services.expiry.run_round()
        system.passed += 400
        await site.services.expiry.run_round()
        assert site.services.sessions.clock() == pytest.approx(system.wall(), abs=2)
        assert ended(socket) == []
        assert await socket.call("whoami") == "ann"
        assert (await bob.get("/account"))[0] == 200
        assert (await eve.get("/account"))[0] == 302


async def test_the_rounds_go_on_after_a_jump_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions end in time; a timer of the system's clock would stand still."""
    system = Running()
    monkeypatch.setattr(time, "time", system.wall)
    async with (
        serve(
            tmp_path, clock=SteadyClock(system.wall, system.elapsed), expiry_interval=0.05
        ) as site,
        PythonVisitor(site.url) as ann,
    ):
        socket = await joined(ann, "websocket")
        await step(site, system, 2 * DAY)
        await step(site, system, -2 * DAY)
        assert ended(socket) == []
        system.passed += DAY + 10
        await until(lambda: bool(ended(socket)))


@pytest.mark.parametrize("by", [61.0, -3600.0])
@pytest.mark.attack("A9")
async def test_a_clock_that_is_set_keeps_the_count_of_failed_sign_ins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: float
) -> None:
    """The limit neither ends early nor lasts longer."""
    moved = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + moved)
    wrong = {"username": "ann", "password": "not the right one"}
    async with (
        serve(tmp_path, failed_logins_per_minute=3) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as thief,
    ):
        await ann.sign_up("ann")
        for _ in range(3):
            assert (await thief.post("/login", json=wrong))[0] == 401
        moved = by
        async with thief.http.post(site.url + "/login", json=wrong) as answer:
            assert answer.status == 429
            assert 0 < int(answer.headers["Retry-After"]) <= 60


async def test_a_running_program_signs_nobody_out_by_a_jump(tmp_path: Path) -> None:
    """`python -m app`, whose system's clock is set forward by two days for three seconds."""
    clock, log = tmp_path / "clock", tmp_path / "log"
    clock.write_text("+0")
    environ: dict[str, Any] = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    async with (
        process(tmp_path / "data", log=log, **environ) as site,
        PythonVisitor(site.url) as ann,
        Visitor(site.url) as bob,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        assert await bob.incr() == 1
        socket = await joined(ann, "websocket")
        clock.write_text("+2d")
        await until(lambda: "step=+172800s" in log.read_text())
        assert await socket.call("whoami") == "ann"
        assert await bob.incr() == 2
        clock.write_text("+0")
        await asyncio.sleep(2)  # two rounds, which would end whoever is over
        assert ended(socket) == []
        assert await socket.call("whoami") == "ann"
        assert await bob.incr() == 3
