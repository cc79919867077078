"""The control socket: commands of operators and scripts to the running process.

It is a Unix socket in the data folder, for the user that the process runs as and for root. A
request is a line of JSON, `{"command": "emit", "arguments": {…}}`. Its answer is a line too:
`{"result": …}` or `{"error": "sentence"}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.common import unix_socket
from app.common.background import cancel_all
from app.common.unix_socket import UnixSocket

log = logging.getLogger("latchkey.control")

MAX_LINE = 16_000_000  # bytes
_REQUEST_TIMEOUT = 60.0  # seconds that a client has for its next request
_MAX_CONNECTIONS = 16

#: Acts on the arguments of a request and returns its result; raises CommandFailed.
Command = Callable[[Mapping[str, Any]], Awaitable[Any]]


class CommandFailed(Exception):
    """A command cannot be done; the message is for the operator."""


class Request(msgspec.Struct):
    """A line of a client."""

    command: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)


def socket_path(folder: Path, process_number: int) -> Path:
    """Return the path of a process's control socket: processes may share a data folder."""
    return folder / (f"control-{process_number}.sock" if process_number else "control.sock")


class ControlSocket:
    """Answers commands until it is stopped."""

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        self._path = path
        self._commands = commands
        self._made: UnixSocket | None = None
        self._server: asyncio.AbstractServer | None = None
        self._clients: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen; if that is impossible the process goes on without it, and says so."""
        try:
            self._made = unix_socket.listen(self._path, 0o600)
        except unix_socket.SocketInUse:
            log.info("another process listens on %s; commands go to that one", self._path)
            return
        except OSError as error:
            log.warning("commands cannot reach this process: %s: %s", self._path, error)
            return
        self._server = await asyncio.start_unix_server(
            self._accept,
            sock=self._made.sock,
            limit=MAX_LINE,
            **unix_socket.server_options(asyncio.get_running_loop()),
        )

    async def stop(self) -> None:
        """Remove the socket, and end the commands that run."""
        if self._made is not None:
            self._made.remove()
        if self._server is not None:
            self._server.close()
        await cancel_all(set(self._clients))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) <= _MAX_CONNECTIONS and _may_command(writer):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, ValueError):
            pass  # the client left, does nothing, or sent a line that is too long
        except asyncio.CancelledError:
            pass  # the process stops
        finally:
            self._clients.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            async with asyncio.timeout(_REQUEST_TIMEOUT):
                line = await reader.readline()
            if not line.endswith(b"\n"):
                return
            writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=Request)
        except (msgspec.MsgspecError, RecursionError) as error:
            return {"error": f"the request is not valid: {error}"}
        command = self._commands.get(request.command)
        if command is None:
            known = ", ".join(sorted(self._commands))
            return {"error": f"unknown command {request.command!r}; there are {known}"}
        try:
            return {"result": await command(request.arguments)}
        except CommandFailed as error:
            return {"error": str(error)}
        except Exception:
            log.exception("the command %s failed", request.command)
            return {"error": f"the command {request.command} failed; see the log of the process"}


def _may_command(writer: asyncio.StreamWriter) -> bool:
    """Whether the client runs as the user of this process, or as root (Linux: SO_PEERCRED)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the permissions of the file have to do
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    allowed = user in (0, os.geteuid())
    if not allowed:
        log.warning("refused a command of the user with id %d", user)
    return allowed
