"""Programs that fork from a process that has imported all they need (`preloaded`)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.helper_process import HelperProcess
from tests.support.paths import ROOT
from tests.support.preloaded import Request

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Child:
    """A running program: the part of asyncio's subprocess class that tests use."""

    def __init__(self, pid: int, stdin: int, outputs: list[_Output], answers: Connection) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = os.fdopen(stdin, "wb", 0)
        self.stdout = outputs[0].reader
        self.stderr = outputs[1].reader if len(outputs) > 1 else None
        self._ended = asyncio.create_task(self._end(outputs, answers))

    async def _end(self, outputs: list[_Output], answers: Connection) -> None:
        reader, writer = answers
        self.returncode = int(await reader.readline())
        writer.close()
        self.stdin.close()
        for output in outputs:
            await output.closed.wait()

    async def wait(self) -> int | None:
        """Wait until the program has ended; return its exit code, negative after a signal."""
        await asyncio.shield(self._ended)
        return self.returncode

    async def communicate(self, typed: bytes = b"") -> tuple[bytes, bytes]:
        """Write to the standard input, read both outputs to their end, and wait."""
        assert self.stderr is not None
        if self.returncode is None:  # else the input is closed
            with contextlib.suppress(BrokenPipeError), self.stdin:
                self.stdin.write(typed)
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
        request = Request(module, arguments, dict(os.environ), _umask(), str(ROOT))
        with Path(os.devnull).open("rb") as nothing:
            self._connection = _send(request, [nothing.fileno(), output, output])
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
    """A pipe that a program writes to."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        self.closed = asyncio.Event()
        super().__init__(self.reader)

    async def read(self, pipe: int) -> None:
        file = os.fdopen(pipe, "rb", 0)
        await asyncio.get_running_loop().connect_read_pipe(lambda: self, file)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.closed.set()


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
    request = Request(module, arguments, dict(environ), _umask(), str(root))
    read_in, write_in = os.pipe()
    pipes = [os.pipe() for _ in range(1 if stderr is not None else 2)]
    theirs = [read_in, *(write for _, write in pipes)]
    connection = _send(request, theirs if stderr is None else [*theirs, stderr])
    for descriptor in theirs:
        os.close(descriptor)
    answers = await asyncio.open_unix_connection(sock=connection)
    pid = int(await answers[0].readline())
    outputs = [_Output() for _ in pipes]
    for output, (read, _) in zip(outputs, pipes, strict=True):
        await output.read(read)
    return Child(pid, write_in, outputs, answers)


def _send(request: Request, streams: list[int]) -> socket.socket:
    """Ask for a process with these standard streams; return the connection for answers."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_server("program" if request.root == str(ROOT) else "packages"))
    socket.send_fds(connection, [b"+"], streams)
    connection.sendall(json.dumps(dataclasses.asdict(request)).encode() + b"\n")
    connection.setblocking(False)
    return connection


@functools.cache
def _server(loaded: str) -> str:
    """Start the process that programs fork from; return the path of its socket."""
    return HelperProcess(sys.executable, "-m", "tests.support.preloaded", loaded).path


def _umask() -> int:
    """Return the umask of this process, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
