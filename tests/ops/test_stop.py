"""A stop waits for handlers for --drain-time, then cancels the rest and logs them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.application import Application, make_app
from app.settings import Settings
from app.stores.memory import MemoryStore
from tests.support.copies import copy_upstream
from tests.support.demo.session import BaseNamespace, SessionData
from tests.support.fork import fork
from tests.support.process import process
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Slow(BaseNamespace):
    """Stores something when a client leaves, after `gate` has opened."""

    gate = asyncio.Event()
    told: list[str] = []

    async def on_job(self, sid: str) -> None:
        self.told.append("job begins")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.told.append("job cancelled")
            raise

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.told.append(reason)
        await self.gate.wait()
        async with self.session_for(sid) as data:
            data.count += 1
        self.told.append(f"stored {data.count}")


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[Application, Any]]:
    """Serve the namespace, with one client in it; the test stops the application."""
    Slow.gate, Slow.told = asyncio.Event(), []
    modules = fork(monkeypatch, namespaces=[("/slow", Slow)])
    app = make_app(
        Settings(port=0, data_dir=tmp_path / "data", **settings),
        store=MemoryStore(),
        modules=modules,
        data_type=SessionData,
    )
    url = await app.start()
    async with Visitor(url) as visitor:
        socket = await visitor.socket("websocket", namespaces=("/slow",))
        yield app, socket
        await socket.client.shutdown()


async def test_a_stop_waits_for_on_disconnect_while_the_store_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And ends as soon as the last handler has, however long the drain may take."""
    async with running(tmp_path, monkeypatch, drain_time=3600) as (app, _):
        stop = asyncio.create_task(app.stop())
        await until(lambda: Slow.told == ["server shutdown"])
        await asyncio.sleep(1)  # longer than clients have to close their WebSockets
        assert not stop.done()
        Slow.gate.set()
        await asyncio.wait_for(stop, 5)
        assert Slow.told == ["server shutdown", "stored 1"]
        assert "cut off" not in caplog.text


async def test_handlers_that_are_cut_off_are_named_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line for each kind: handler, namespace, how many, after how long."""
    async with running(tmp_path, monkeypatch, drain_time=0.6) as (app, socket):
        for _ in range(3):
            await socket.client.emit("job", namespace="/slow")
        await until(lambda: len(Slow.told) == 3)
        with caplog.at_level(logging.WARNING):
            await asyncio.wait_for(app.stop(), 5)
        assert Slow.told[3:] == ["server shutdown", *["job cancelled"] * 3]
        lines = [line for line in caplog.messages if "cut off" in line]
        assert [line.rpartition(" after=")[0] for line in sorted(lines)] == [
            "handler cut off by the stop handler=on_disconnect namespace=/slow count=1",
            "handler cut off by the stop handler=on_job namespace=/slow count=3",
        ]
        assert all(float(line.rpartition("=")[2].rstrip("s")) >= 0.5 for line in lines)


async def test_a_second_stop_ends_the_wait_for_handlers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those that still run are cut off at once."""
    async with running(tmp_path, monkeypatch, drain_time=3600) as (app, _):
        skip = asyncio.Event()
        stop = asyncio.create_task(app.stop(skip))
        await until(lambda: Slow.told == ["server shutdown"])
        skip.set()
        await asyncio.wait_for(stop, 5)
        assert "handler=on_disconnect namespace=/slow" in caplog.text


MODULE = """
import asyncio
from handlers.session import BaseNamespace


class Slow(BaseNamespace):
    async def on_disconnect(self, sid: str, reason: str) -> None:
        told = self.services.settings.data_dir / "told"
        told.write_text("begins")
        while not (self.services.settings.data_dir / "gate").exists():
            await asyncio.sleep(0.01)
        told.write_text("stored")


namespaces = [("/slow", Slow)]
"""


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_handlers_end_and_a_second_one_cuts_them_off(
    tmp_path: Path, number: signal.Signals, again: bool
) -> None:
    """Of either kind; the exit code is 0 in all cases."""
    folder, data, log = tmp_path / "fork", tmp_path / "data", tmp_path / "log"
    copy_upstream(folder)
    (folder / "handlers" / "slow.py").write_text(MODULE)
    names = folder / "handlers" / "__init__.py"
    names.write_text(names.read_text() + 'modules = (*modules, "slow")\n')
    flags = ("--store=memory", "--drain-time=3600")
    async with (
        process(data, *flags, log=log, root=folder, program="app") as site,
        Visitor(site.url) as visitor,
    ):
        socket = await visitor.socket("websocket", namespaces=("/slow",))
        site.process.send_signal(number)
        told = data / "told"
        await until(told.exists)
        if again:
            assert await site.stop(number) == 0
            assert told.read_text() == "begins"
            assert "cut off by the stop handler=on_disconnect namespace=/slow" in log.read_text()
        else:
            await asyncio.sleep(0.8)  # longer than a stop waits once skip is set
            (data / "gate").touch()
            assert await asyncio.wait_for(site.process.wait(), 10) == 0
            assert told.read_text() == "stored"
            assert "cut off" not in log.read_text()
        await socket.client.shutdown()
