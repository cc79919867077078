"""Programs that start without imports: they fork from a process that has imported all they need.

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
import functools
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.helper_process import HelperProcess
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


class Child:
    """A running program: the part of asyncio's subprocess class that tests use."""

    def __init__(self, pid: int, stdin: int, connection: Connection) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self.stdin = os.fdopen(stdin, "wb", 0)
        self._outputs: list[_Output] = []
        self._ended = asyncio.create_task(self._end(connection))

    async def _end(self, connection: Connection) -> None:
        reader, writer = connection
        self.returncode = int(await reader.readline())
        writer.close()
        self.stdin.close()
        for output in self._outputs:
            await output.closed.wait()

    async def read(self, stdout: int, stderr: int | None) -> None:
        """Read the program's outputs from these pipes."""
        self.stdout = await self._reader(stdout)
        if stderr is not None:
            self.stderr = await self._reader(stderr)

    async def _reader(self, pipe: int) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        output = _Output(reader)
        self._outputs.append(output)
        file = os.fdopen(pipe, "rb", 0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: output, file)
        return reader

    async def wait(self) -> int | None:
        """Wait until the program has ended; return its exit code, negative after a signal."""
        await asyncio.shield(self._ended)
        return self.returncode

    async def communicate(self, typed: bytes | None = None) -> tuple[bytes, bytes]:
        """Write to the standard input, read both outputs to their end, and wait."""
        assert self.stdout is not None
        assert self.stderr is not None
        with self.stdin:
            self.stdin.write(typed or b"")
        outputs = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return outputs

    def send_signal(self, number: int) -> None:
        """Send a signal; do nothing if the program has just ended, as `subprocess` does."""
        if self.returncode is not None:
            raise ProcessLookupError(f"the program ended with {self.returncode}")
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Program:
    """A running program: the part of `subprocess.Popen` that the bench uses."""

    def __init__(self, module: str, *arguments: str, output: int) -> None:
        """Start `python -m MODULE ARGUMENTS`; both outputs go to the file descriptor."""
        request = _Request(module, arguments, dict(os.environ), _umask(), str(ROOT))
        with Path(os.devnull).open("rb") as nothing:
            self._connection = request.send([nothing.fileno(), output, output])
        self._connection.setblocking(True)
        self._lines = self._connection.makefile("rb")
        self.pid = int(self._lines.readline())
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or None while the program runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the program has ended; raises TimeoutExpired after `timeout` seconds."""
        if self._returncode is None:
            # the connection is closed after the exit code
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired([], timeout or 0.0)
            self._returncode = int(self._lines.readline())
            self._lines.close()
            self._connection.close()
        return self._returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal; do nothing if the program has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)


class _Output(asyncio.StreamReaderProtocol):
    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.closed = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed.set()


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def start(
    module: str,
    *arguments: str,
    environ: Mapping[str, str],
    root: Path = ROOT,
    stderr: int | None = None,
) -> Child:
    """Start `python -m MODULE ARGUMENTS` with pipes, in the repository's folder or that of a copy.

    `stderr` is a file descriptor to use in place of a pipe.
    """
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    read_error, write_error = (None, stderr) if stderr is not None else os.pipe()
    theirs = [read_in, write_out, write_error]
    request = _Request(module, arguments, dict(environ), _umask(), str(root))
    reader, writer = await asyncio.open_unix_connection(sock=request.send(theirs))
    for pipe in theirs:
        if pipe != stderr:
            os.close(pipe)
    child = Child(int(await reader.readline()), write_in, (reader, writer))
    await child.read(read_out, read_error)
    return child


@functools.cache
def _server(loaded: str) -> str:
    """Start the process that programs fork from; return the path of its socket."""
    return HelperProcess(sys.executable, "-m", "tests.support.preloaded", loaded).path


@dataclass
class _Request:
    """A module to run as a program."""

    module: str
    arguments: tuple[str, ...]
    environ: dict[str, str]
    umask: int
    root: str

    def send(self, streams: list[int]) -> socket.socket:
        """Ask for a process with these standard streams; return the connection for answers."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(_server("program" if self.root == str(ROOT) else "packages"))
        socket.send_fds(connection, [b"+"], streams)
        connection.sendall(json.dumps(vars(self)).encode() + b"\n")
        connection.setblocking(False)
        return connection

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


def _umask() -> int:
    """Return the umask of this process, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


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

    def serve(self) -> _Request | None:
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

    def _fork(self) -> _Request | None:
        connection, _ = self._listener.accept()
        _, streams, _, _ = socket.recv_fds(connection, 1, 3)
        with connection.makefile() as lines:
            request = _Request(**json.loads(lines.readline()))
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
