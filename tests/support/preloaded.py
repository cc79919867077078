"""The process that programs of tests fork from: it has imported all they need.

    python -m tests.support.preloaded program|packages SOCKET

A start of `python -m app` takes 0.75 s of CPU, of which 0.6 s are imports. The suite starts
programs hundreds of times, and so imports once in each of its workers. A forked program has a
process, arguments, environment, umask, standard streams, signals and exit code of its own.
It hashes passwords at argon2's lowest cost, as tests do.

A copy of the program in another folder forks from a process that has imported the packages alone,
and imports the files of its folder.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from dataclasses import dataclass

from tests.support.paths import ROOT

# of the program in this repository, besides the modules of handlers
MODULES = (
    "app.__main__",
    "app.program",
    "app.accounts.__main__",
    "app.database.postgresql",
    "tests.support.demo.counter",
    "sqlalchemy.dialects.sqlite",
    "uvloop",
)
# what a copy of the program imports from elsewhere
PACKAGES = (
    *("aiohttp", "aiosmtplib", "alembic.command", "argon2", "confusable_homoglyphs.confusables"),
    *("hiredis", "itsdangerous", "msgspec", "prometheus_client", "psycopg", "pyotp"),
    *("redis.asyncio", "socketio", "sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite"),
    *("tornado.httpserver", "tornado.web", "tornado.websocket", "uvloop", "zxcvbn_rs_py"),
)


@dataclass
class Request:
    """A module to run as a program."""

    module: str
    arguments: tuple[str, ...]
    environ: dict[str, str]
    umask: int
    root: str

    def run(self) -> None:
        """Become the program."""
        os.umask(self.umask)
        os.environ.clear()
        os.environ.update(self.environ)
        sys.argv[1:] = self.arguments
        sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in self.environ
        if self.root != str(ROOT):
            self._go_to_copy()
        # runpy warns of a module that is imported already
        sys.modules.pop(f"{self.module}.__main__", None)
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)

    def _go_to_copy(self) -> None:
        """Let Python find the files of the copy, as it does for `python -m` in its folder."""
        os.chdir(self.root)
        sys.path[0] = self.root
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]


class _Server:
    """Forks a process for each request, and answers with its pid and later its exit code."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._running: dict[int, socket.socket] = {}
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno())

    def serve(self) -> Request | None:
        """Serve until the standard input ends; in a forked process, return what to run."""
        with selectors.DefaultSelector() as selector:
            for file in (self._listener, self._woken, sys.stdin):
                selector.register(file, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._woken in ready:
                    self._woken.recv(1000)
                    self._reap()
                if self._listener in ready and (request := self._fork()) is not None:
                    return request
                if sys.stdin in ready:
                    return None

    def _fork(self) -> Request | None:
        connection, _ = self._listener.accept()
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        with connection.makefile() as lines:
            request = Request(**json.loads(lines.readline()))
        pid = os.fork()
        if pid == 0:
            self._leave(connection, streams)
            return request
        for stream in streams:
            os.close(stream)
        self._running[pid] = connection
        connection.sendall(f"{pid}\n".encode())
        return None

    def _leave(self, connection: socket.socket, streams: list[int]) -> None:
        """Undo, in a forked process, what only the server needs."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        others = (self._listener, self._woken, self._waker, *self._running.values())
        for sock in (connection, *others):
            sock.close()

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            with contextlib.suppress(OSError), self._running.pop(pid) as connection:
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _load_program() -> None:
    """Import all that the program in this repository needs."""
    for module in MODULES:
        importlib.import_module(module)
    import handlers
    from app.accounts import password_strength, passwords
    from app.module_list import listed

    for module in listed(handlers):
        importlib.import_module(module)
    passwords.MEMORY_COST, passwords.TIME_COST = 8, 1
    password_strength.guesses("password", ())  # loads the lists of words
    asyncio.run(_serve_once())


async def _serve_once() -> None:
    """Fill the caches of Python and of packages, such as that of regular expressions."""
    from app import testing

    async with testing.serve():
        pass


def _load_packages() -> None:
    for module in PACKAGES:
        importlib.import_module(module)


def _end_at_once(exit_code: list[int]) -> None:
    """End a program here: Python's own end touches, and so copies, all memory: 65 ms of CPU."""
    if exit_code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code[0])


def main(loaded: str, path: str) -> None:
    exit_code: list[int] = []  # of a program that has ended without an error of Python
    atexit.register(_end_at_once, exit_code)  # the first one that is registered runs last
    _load_program() if loaded == "program" else _load_packages()
    gc.collect()
    gc.freeze()
    server = _Server(path)
    print("ready", flush=True)
    request = server.serve()
    if request is not None:
        try:
            request.run()
        except SystemExit as end:
            if end.code is None or isinstance(end.code, int):
                exit_code.append(end.code or 0)
            raise
        exit_code.append(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
