"""`on_start` and `on_stop` of modules: their order, and what happens when one fails."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.module_start_and_stop import StartFailed
from app.settings import SettingsError
from tests.support import forked
from tests.support.fork import fork
from tests.support.ports import free_port
from tests.support.process import Process, process
from tests.support.site import serve
from tests.support.waiting import until

Told = list[str]


def module(monkeypatch: pytest.MonkeyPatch, told: Told, name: str, **hooks: Any) -> str:
    """Make a module that tells of its start and stop; return its name."""

    async def on_start(services: Any) -> None:
        told.append(f"start {name}")

    async def on_stop(services: Any) -> None:
        told.append(f"stop {name}")

    return fork(monkeypatch, **{"on_start": on_start, "on_stop": on_stop, **hooks})[-1]


@pytest.fixture
def told() -> Told:
    return []


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, told: Told) -> Callable[..., str]:
    return lambda name, **hooks: module(monkeypatch, told, name, **hooks)


async def test_modules_start_before_the_first_request_and_stop_in_reverse_order(
    tmp_path: Path, make: Any, told: Told
) -> None:
    """The stores are open in both hooks; a hook need not be `async`."""

    async def first(services: Any) -> None:
        await services.sessions.store.ping()
        assert services.settings.data_dir == tmp_path / "data"
        told.append("start first")

    async def last(services: Any) -> None:
        await services.sessions.store.ping()
        told.append("stop first")

    names = (
        make("first", on_start=first, on_stop=last),
        make("second", on_start=lambda services: told.append("start second")),
        make("third", on_start=None),
        make("fourth", on_stop=None),
    )
    async with serve(tmp_path, modules=names, store="sqlite"):
        assert told == ["start first", "start second", "start fourth"]
        told.clear()
    assert told == ["stop third", "stop second", "stop first"]


async def test_a_module_that_cannot_start_stops_those_before_it(
    tmp_path: Path, make: Any, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the module, and the log has the traceback for its author."""

    async def fail(services: Any) -> None:
        raise KeyError("room")

    names = (make("first"), broken := make("broken", on_start=fail), make("never"))
    with pytest.raises(StartFailed, match=f"on_start of {broken} failed: KeyError: 'room'"):
        async with serve(tmp_path, modules=names):
            pass
    assert told == ["start first", "stop first"]
    assert 'raise KeyError("room")' in caplog.text


async def test_a_module_can_refuse_to_start_with_a_sentence(
    tmp_path: Path, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A SettingsError is for the operator, so it has no traceback."""

    def refuse(services: Any) -> None:
        raise SettingsError("--oidc-issuer does not answer; correct it")

    name = make("oidc", on_start=refuse)
    with pytest.raises(StartFailed, match=f"{name} does not start: --oidc-issuer does not answer"):
        async with serve(tmp_path, modules=(name,)):
            pass
    assert "Traceback" not in caplog.text


async def test_an_on_stop_that_fails_or_hangs_keeps_none_from_stopping(
    tmp_path: Path, make: Any, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has --stop-timeout, is cancelled after it, and is named in the log."""

    async def fail(services: Any) -> None:
        raise OSError("disk full")

    async def hang(services: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cut off")

    names = (
        make("first"),
        failing := make("failing", on_stop=fail),
        hanging := make("hanging", on_stop=hang),
        make("last"),
    )
    with caplog.at_level(logging.WARNING):
        async with serve(tmp_path, modules=names, stop_timeout=0.1):
            told.clear()
    assert told == ["stop last", "cut off", "stop first"]
    assert f"on_stop failed module={failing}" in caplog.text
    assert "disk full" in caplog.text
    assert f"on_stop was cut off module={hanging} after=" in caplog.text


async def test_a_second_stop_skips_on_stop(
    tmp_path: Path, make: Any, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """As a second Ctrl-C does; what was skipped is in the log."""

    async def hang(services: Any) -> None:
        told.append("hangs")
        await asyncio.Event().wait()

    names = (skipped := make("first"), cut := make("hanging", on_stop=hang))
    skip = asyncio.Event()
    async with serve(tmp_path, modules=names, stop_timeout=3600) as site:
        stop = asyncio.create_task(site.app.stop(skip))
        await until(lambda: told[-1] == "hangs")
        skip.set()
        await stop
    assert told[-1] == "hangs"
    assert f"on_stop was cut off module={cut}" in caplog.text
    assert f"on_stop was skipped module={skipped}" in caplog.text


async def test_jobs_and_background_work_have_ended_before_on_stop(
    tmp_path: Path, make: Any, told: Told
) -> None:
    """So a module may close there what its jobs use; what `on_stop` starts ends too."""

    async def hang(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(f"{name} ended")

    async def on_start(services: Any) -> None:
        services.every(0.01, lambda: hang("job"))
        services.background(hang("background"))

    async def on_stop(services: Any) -> None:
        told.append("on_stop")
        services.background(hang("late"))
        await asyncio.sleep(0)

    names = (make("jobs", on_start=on_start, on_stop=on_stop),)
    async with serve(tmp_path, modules=names):
        await asyncio.sleep(0.05)
    assert told == ["job ended", "background ended", "on_stop", "late ended"]


# -- the program --

PROGRAM = """
import sys

from app.program import run
from handlers.session import SessionData

if __name__ == "__main__":
    sys.exit(run(("product.first", "product.second", "handlers.health"), SessionData))
"""
MODULE = """
import asyncio
from pathlib import Path


async def on_start(services):
    Path("told").open("a").write(f"start {__name__}\\n")
    if __name__ in Path("mode").read_text():
        if "hang" in Path("mode").read_text():
            await asyncio.Event().wait()
        raise RuntimeError("no printer")


async def on_stop(services):
    Path("told").open("a").write(f"stop {__name__}\\n")
"""


def write_product(folder: Path, mode: str) -> Path:
    """Write a product whose modules start as `mode` says; return the file of what they did."""
    (folder / "product").mkdir()
    (folder / "product" / "__init__.py").write_text("")
    (folder / "product" / "__main__.py").write_text(PROGRAM)
    for name in ("first", "second"):
        (folder / "product" / f"{name}.py").write_text(MODULE)
    (folder / "mode").write_text(mode)
    return folder / "told"


async def start(folder: Path, port: int = 0) -> forked.Child:
    flags = (f"--port={port}", f"--data-dir={folder / 'data'}")
    return await forked.start("product", *flags, environ=os.environ, root=folder)


async def test_the_program_starts_and_stops_modules(tmp_path: Path) -> None:
    """On SIGTERM, in a process of its own."""
    told = write_product(tmp_path, "")
    async with process(tmp_path / "data", root=tmp_path, program="product") as site:
        assert told.read_text() == "start product.first\nstart product.second\n"
        assert await site.stop() == 0
    assert told.read_text().splitlines()[2:] == ["stop product.second", "stop product.first"]


STUCK = """
import time


async def on_start(services):
    services.background(services.database.run(lambda connection: time.sleep(60)))
"""


async def test_the_program_ends_though_a_job_does_not(tmp_path: Path) -> None:
    """Python waits for threads, and none can be ended; the log names what is left."""
    write_product(tmp_path, "")
    (tmp_path / "product" / "second.py").write_text(STUCK)
    log = tmp_path / "log"
    async with process(tmp_path / "data", root=tmp_path, program="product", log=log) as site:
        assert await site.stop() == 0
    assert "the process ends, though threads still run threads=" in log.read_text()
    assert "database_0" in log.read_text()


async def test_the_program_ends_when_a_module_cannot_start(tmp_path: Path) -> None:
    """With code 1, a sentence that names the module, and its traceback before that."""
    told = write_product(tmp_path, "product.second")
    out, err = await (child := await start(tmp_path)).communicate()
    assert (child.returncode, out) == (1, b"")
    *log, last = err.decode().splitlines()
    assert last == "latchkey: on_start of product.second failed: RuntimeError: no printer"
    assert any("second.py" in line for line in log)
    assert told.read_text().splitlines()[1:] == ["start product.second", "stop product.first"]


async def test_the_program_refuses_a_module_that_does_not_exist(tmp_path: Path) -> None:
    """With code 2 and one sentence; an error inside of a module has its traceback."""
    write_product(tmp_path, "")
    main = tmp_path / "product" / "__main__.py"
    main.write_text(main.read_text().replace("product.second", "product.secnod"))
    out, err = await (child := await start(tmp_path)).communicate()
    assert (child.returncode, out) == (2, b"")
    assert err == b"latchkey: there is no module product.secnod; did you mean second?\n"
    (tmp_path / "product" / "secnod.py").write_text("import no_such_package")
    out, err = await (child := await start(tmp_path)).communicate()
    assert (child.returncode, out) == (1, b"")
    assert b'secnod.py", line 1' in err
    assert err.endswith(b"ModuleNotFoundError: No module named 'no_such_package'\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_during_on_start_ends_the_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    """At once, without a traceback, and what was started is stopped; nothing was served yet."""
    told, port = write_product(tmp_path, "hang product.second"), free_port()
    child = await start(tmp_path, port)
    await until(lambda: told.exists() and "second" in told.read_text())
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert await Process(child, "").stop(number) == 0
    assert child.stderr is not None
    assert await child.stderr.read() == b""
    assert told.read_text().splitlines()[2:] == ["stop product.first"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_the_program_is_imported_ends_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Without a traceback; the import of a module waits here until the signal has come."""
    waiting = tmp_path / "waiting"
    (tmp_path / "msgspec.py").write_text(
        f"import pathlib, time\npathlib.Path({str(waiting)!r}).touch()\ntime.sleep(60)\n"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app", "--port=0", f"--data-dir={tmp_path / 'data'}"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await until(waiting.exists)
    child.send_signal(number)
    assert await child.communicate() == (b"", b"")
    assert child.returncode == 0
    assert not (tmp_path / "data").exists()
