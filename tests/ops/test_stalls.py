"""A stalled event loop is logged, and systemd's watchdog is not fed meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.ops import stall_log
from app.ops.loop_lag import LoopLag
from app.ops.stall_log import StallLog
from tests.support.ports import free_port
from tests.support.process import process
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(60)
PROGRAM = "tests.support.stalling"


async def test_a_stall_is_logged_with_the_handler_and_its_stack(tmp_path: Path) -> None:
    """Once for each stall, and again when the loop goes on."""
    log = tmp_path / "log"
    async with process(tmp_path / "data", program=PROGRAM, log=log) as site:
        async with Visitor(site.url) as visitor:
            assert await visitor.get("/stall") == (200, "done")
        await until(lambda: "the event loop goes on seconds=" in log.read_text())
    text = log.read_text()
    assert text.count("the event loop stalls; move slow work to a thread seconds=") == 1
    assert "handler=tests.support.stalling.StallingHandler.get\n" in text
    assert "time.sleep(2.5)" in text


def test_a_process_that_was_stopped_as_a_whole_logs_no_stall(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its handlers are not to blame: the thread that looks was late too."""
    lag, wakes = LoopLag(), threading.Semaphore(0)
    times = itertools.count(lag.measured_at, 100.0)

    def later() -> float:
        wakes.release()
        return next(times)

    monkeypatch.setattr(stall_log, "INTERVAL", 0.01)
    monkeypatch.setattr(stall_log, "time", SimpleNamespace(monotonic=later))
    stalls = StallLog(lag)
    stalls.start()
    for _ in range(5):
        assert wakes.acquire(timeout=5)
    stalls.stop()
    assert "stalls" not in caplog.text


async def ready(manager: socket.socket) -> None:
    """Wait until the process says that it serves; it may feed the watchdog before."""
    loop = asyncio.get_running_loop()
    while (said := await loop.sock_recv(manager, 100)) != b"READY=1":
        assert said == b"WATCHDOG=1"


async def test_systemd_is_told_that_the_loop_runs(tmp_path: Path) -> None:
    """With WatchdogSec=: twice in that time, and not while the loop stalls."""
    address = str(tmp_path / "notify")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        async with process(
            tmp_path / "data", program=PROGRAM, NOTIFY_SOCKET=address, WATCHDOG_USEC="1000000"
        ) as site:
            await ready(manager)
            for _ in range(3):
                assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"
            async with Visitor(site.url) as visitor:
                stalled = asyncio.ensure_future(visitor.get("/stall"))
                await asyncio.sleep(0.5)  # the request has arrived
                received = 0
                while not stalled.done():
                    try:
                        await asyncio.wait_for(loop.sock_recv(manager, 100), 0.2)
                        received += 1
                    except TimeoutError:
                        continue
                assert received <= 2, "it was fed during the stall"
            assert await loop.sock_recv(manager, 100) == b"WATCHDOG=1"


async def test_a_frozen_process_is_noticed_and_ended_with_its_stacks(tmp_path: Path) -> None:
    """It feeds the watchdog no more; what systemd sends then ends it, and it can start again."""
    address, log = str(tmp_path / "notify"), tmp_path / "log"
    loop = asyncio.get_running_loop()
    port = f"--port={free_port()}"
    watched: dict[str, Any] = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)

        async def told() -> bytes:
            """Return what the process tells next; empty if it tells nothing for WatchdogSec=."""
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(loop.sock_recv(manager, 100), 2)
            return b""

        async with process(tmp_path / "data", port, log=log, **watched) as site:
            await ready(manager)
            assert await told() == b"WATCHDOG=1"
            site.process.send_signal(signal.SIGSTOP)
            while await told():
                pass
            # systemd continues a stopped process after the signal
            site.process.send_signal(signal.SIGABRT)
            site.process.send_signal(signal.SIGCONT)
            await site.process.wait()
            assert site.process.returncode == -signal.SIGABRT
        assert "Fatal Python error: Aborted" in log.read_text()
        async with process(tmp_path / "data", port, **watched) as site:
            await ready(manager)
            async with Visitor(site.url) as visitor:
                assert (await visitor.get("/healthz"))[0] == 200


async def test_another_process_is_not_watched(tmp_path: Path) -> None:
    """WATCHDOG_PID names the process that systemd waits for."""
    address = str(tmp_path / "notify")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)
        async with process(
            tmp_path / "data",
            program=PROGRAM,
            NOTIFY_SOCKET=address,
            WATCHDOG_USEC="1000000",
            WATCHDOG_PID=str(os.getpid()),
        ) as site:
            assert await loop.sock_recv(manager, 100) == b"READY=1"
            async with Visitor(site.url) as visitor:
                assert await visitor.get("/stall") == (200, "done")
            await site.stop()
            assert await loop.sock_recv(manager, 100) == b"STOPPING=1"
