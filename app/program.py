"""The program: serve, or run `--version`, `backup`, `restore`, `verify` or `keys …`."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import importlib
import importlib.metadata
import logging
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from app import __version__
from app.application import Application, make_app
from app.backup.command import COMMANDS
from app.backup.command import main as run_backup_command
from app.check import check
from app.common.background import cancel_all
from app.common.urls import without_credentials
from app.console import key_program
from app.console.product import Product
from app.extensions import InvalidModule, load_extensions, own_records, own_variables, schemas
from app.module_list import listed
from app.module_start_and_stop import StartFailed
from app.ops.data_folder import FolderBusy
from app.ops.listening import Listening, listen
from app.ops.log_format import set_up_log
from app.ops.systemd import notify
from app.reload.child import Turn, find_turn
from app.reload.files import folders
from app.reload.supervisor import Supervisor
from app.settings import (
    Settings,
    SettingsError,
    config_path,
    parse_program_settings,
    parse_settings,
)
from app.stores import StoreError
from app.stores.sqlite.database_file import FileOwned

log = logging.getLogger("latchkey")
ROOT = Path(__file__).resolve().parent.parent
_CHECK = "--check"
_THREADS_TIMEOUT = 2.0  # seconds that threads have to end when all is closed
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(
    settings: Settings,
    modules: Sequence[str],
    data_type: type[msgspec.Struct],
    turn: Turn | None = None,
) -> None:
    """Serve until SIGTERM, which drains first, or SIGINT; a second signal skips the waiting.

    A child of --reload has had its `turn`, and serves the sockets of its supervisor.
    """
    stop, skip = asyncio.Event(), asyncio.Event()
    signals, received = _listen_to_signals(stop, skip)
    if turn is not None:
        turn.follow(lambda: received(signal.SIGINT))
    try:
        app = make_app(
            settings,
            modules=modules,
            data_type=data_type,
            template_path=ROOT / "handlers" / "templates",
            static_path=ROOT / "static",
        )
        try:
            await _serve(app, signals, stop, skip, turn.listening if turn else None)
        finally:
            await app.stop(skip)
    finally:
        _ignore_signals()
        _end_in_time(0 if sys.exc_info()[0] is None else 1)


async def _serve(
    app: Application,
    signals: Sequence[signal.Signals],
    stop: asyncio.Event,
    skip: asyncio.Event,
    listening: Listening | None,
) -> None:
    """Start, and serve until `stop` is set."""
    if await _start(app, stop, listening) is None:
        return
    settings = app.services.settings
    _tune_garbage_collector()
    notify("READY=1")
    print(
        f"Latchkey serves {' and '.join(app.addresses)} "
        f"(sessions: {without_credentials(settings.store)}, "
        f"data: {settings.data_dir.resolve()}); Ctrl-C stops it",
        flush=True,
    )
    await stop.wait()
    notify("STOPPING=1")
    if signals[0] == signal.SIGTERM:
        await app.drain(skip)


def _listen_to_signals(
    stop: asyncio.Event, skip: asyncio.Event
) -> tuple[list[signal.Signals], Callable[[signal.Signals], None]]:
    """Set `stop` at the first signal and `skip` at the second.

    Return the list of signals, and the function to call as if one had come.
    """
    signals: list[signal.Signals] = []

    def received(number: signal.Signals) -> None:
        signals.append(number)
        stop.set()
        if len(signals) > 1:
            skip.set()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, received, number)
    return signals, received


def _ignore_signals() -> None:
    """Ignore further signals, which would change the exit code of a completed stop."""
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


def _end_in_time(code: int) -> None:
    """End the process soon, though Python waits for threads: a job of a fork may never end."""

    def end() -> None:
        names = sorted(each.name for each in threading.enumerate() if not each.daemon)
        names.remove(threading.main_thread().name)
        log.error("the process ends, though threads still run threads=%s", ", ".join(names))
        logging.shutdown()
        os._exit(code)

    timer = threading.Timer(_THREADS_TIMEOUT, end)
    timer.daemon = True
    timer.start()


async def _start(app: Application, stop: asyncio.Event, listening: Listening | None) -> str | None:
    """Start the application; return its URL, or None if `stop` was set before it serves.

    A start may wait for a Redis, for the process number of a process that has died, or for a
    module's `on_start`.
    """
    starting = asyncio.create_task(app.start(listening))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if await cancel_all({starting, stopping}):
        log.error("the start ignores its cancellation")
        return None
    return None if starting.cancelled() else starting.result()


def _tune_garbage_collector() -> None:
    """Exclude the objects of the start from garbage collection, and collect less often.

    Hundreds of events that wait for the disk have thousands of objects, which live for
    milliseconds. To scan them after each 700 allocations took a tenth of the CPU of an event.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def run(product: ModuleType | Sequence[str], data_type: type[msgspec.Struct]) -> int:
    """Run the program with the modules of a product and its session data.

    `product` is a package such as `handlers`, whose list of modules `app.module_list` reads, or the
    names of modules. Return its exit code: 0, 1 if it fails, 2 if a setting is wrong.
    """
    set_up_log()
    if "--version" in sys.argv[1:]:
        print(_versions())
        return 0
    faulthandler.enable()  # systemd's watchdog aborts a process that hangs
    turn = find_turn(os.environ)
    try:
        modules = listed(product) if isinstance(product, ModuleType) else product
        if sys.argv[1:2] and sys.argv[1] in COMMANDS:
            return _run_command(modules)
        if sys.argv[1:2] == [key_program.COMMAND]:
            _default_signals()
            return key_program.main(sys.argv[1:], os.environ, lambda: Product(modules, data_type))
        if _CHECK in sys.argv[1:]:
            os.umask(0o077)
            return check([word for word in sys.argv[1:] if word != _CHECK], os.environ, modules)
        if turn is None and parse_program_settings(sys.argv[1:], os.environ).reload:
            return _supervise(modules)
        own = own_records(load_extensions(modules))
        settings = parse_settings(sys.argv[1:], os.environ, own)
    except (InvalidModule, SettingsError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    set_up_log(format=settings.log_format, level=settings.log_level)
    os.umask(0o077)  # SQLite makes files that only their owner can read
    if turn is not None:
        turn.wait()
    try:
        _run(serve(settings, modules, data_type, turn))
    except (FileOwned, FolderBusy, StartFailed, StoreError, ValueError, OSError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1
    return 0


def _supervise(modules: Sequence[str]) -> int:
    """Run the program in a child that is replaced when files change; raises SettingsError."""
    settings = parse_program_settings(sys.argv[1:], os.environ)
    config = config_path(sys.argv[1:], os.environ)
    roots = [*folders(ROOT, modules), *([config.resolve()] if config else [])]
    if settings.store == "memory":
        log.warning("--store memory forgets all sessions at each reload; sqlite keeps them")
    os.umask(0o077)
    try:
        return asyncio.run(Supervisor(listen(settings), roots).run())
    except OSError as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1


def _run_command(modules: Sequence[str]) -> int:
    """Run `backup`, `restore` or `verify`; Ctrl-C interrupts it."""
    set_up_log(level="warning")
    os.umask(0o077)
    _default_signals()
    try:
        return run_backup_command(
            sys.argv[1:],
            os.environ,
            lambda: own_variables(modules),
            lambda: schemas(load_extensions(modules)),
        )
    except KeyboardInterrupt:
        print(f"latchkey: {sys.argv[1]} was interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _default_signals() -> None:
    """Let Ctrl-C interrupt a command, and SIGTERM end it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _versions() -> str:
    """Return the versions of this program, of Python and of packages, one a line."""
    lines = [f"latchkey {__version__}", f"Python {platform.python_version()}"]
    for package in ("tornado", "python-socketio", "python-engineio", "uvloop", "redis"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            lines.append(f"{package} {importlib.metadata.version(package)}")
    return "\n".join(lines)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop if it is installed, as it is by default, else on the loop of asyncio."""
    run_loop: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run
    with contextlib.suppress(ImportError):
        run_loop = importlib.import_module("uvloop").run
    run_loop(work)
