"""Unix sockets: made with their permissions, in place of one that a dead process has left."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import inspect
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAX_PATH = 107  # bytes of an address (unix(7))
_PROBE_TIMEOUT = 1.0  # seconds


class SocketInUse(OSError):
    """Another program listens on this path."""


class UnixSocket:
    """A listening Unix socket and its file, which `remove` deletes."""

    def __init__(self, path: Path, sock: socket.socket) -> None:
        self.path = path
        self.sock = sock
        self._identity = _identity(path)

    def remove(self) -> None:
        """Delete the file, unless another program has replaced it; a second call does nothing."""
        with contextlib.suppress(OSError):
            if self._identity == _identity(self.path):
                self.path.unlink()


def listen(path: Path, mode: int, *, backlog: int = 1024) -> UnixSocket:
    """Listen on a path with the permissions `mode`.

    The socket of a process that has died is replaced. Raises SocketInUse if another program
    listens there, and OSError if the path cannot be used.
    """
    with _claimed(path), _address(path) as address:
        _remove_stale(path, address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with contextlib.suppress(OSError):  # of another system than Linux
                os.fchmod(sock.fileno(), 0o600)  # from the first moment on
            sock.bind(address)
            path.chmod(mode)
            sock.listen(backlog)
            sock.setblocking(False)
            return UnixSocket(path, sock)
        except BaseException:
            sock.close()
            raise


def connect(path: Path, *, timeout: float | None) -> socket.socket:
    """Return a socket that is connected to this path; `timeout` is in seconds. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        with _address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def server_options(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """Return options of `create_unix_server` so that it leaves the file to `UnixSocket.remove`.

    Python 3.13 and later would delete it, also if another process keeps the socket open.
    """
    parameters = inspect.signature(loop.create_unix_server).parameters
    return {"cleanup_socket": False} if "cleanup_socket" in parameters else {}


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[None]:
    """Let one process at a time look at this path and listen on it."""
    claim = path.with_name(path.name + ".lock")
    while True:
        descriptor = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _identity(claim) != _identity(descriptor):
                continue  # the process before has deleted it
            try:
                yield
            finally:
                claim.unlink()
            return
        finally:
            os.close(descriptor)


def _remove_stale(path: Path, address: str) -> None:
    """Delete a socket on which nobody listens; raises OSError for anything else."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(errno.EEXIST, "it is there and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
        except (TimeoutError, BlockingIOError):
            pass  # its backlog is full
    raise SocketInUse(errno.EADDRINUSE, "another program listens there")


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give the address of a path; that of a long one goes by its folder (Linux)."""
    if len(os.fsencode(path)) <= _MAX_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _identity(file: Path | int) -> tuple[int, int] | None:
    """Return what tells one file from another; None if it is not there."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
