"""A client of the control socket, for commands and scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.common import unix_socket
from app.ops.control import CommandFailed

#: Seconds after which a process that answers nothing is taken to hang.
_HUNG_AFTER = 10.0
#: Every process answers this at once, by the error that it knows no such command.
_QUESTION = b'{"command": ""}\n'


class NoProcess(CommandFailed):
    """No process of the data folder answers."""


class ProcessHangs(CommandFailed):
    """A process of the data folder runs, but does not answer; it was asked to do nothing."""


def call(folder: Path, command: str, arguments: Mapping[str, Any], *, timeout: float) -> Any:
    """Have a process that uses this data folder run a command; return its result.

    `timeout` is in seconds. Raises CommandFailed with a sentence, NoProcess if there is none, and
    ProcessHangs if those that run do not answer.
    """
    line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    refused, hangs = "", None
    for path in _sockets(folder):
        try:
            answer = _ask(path, line, timeout)
        except ProcessHangs as error:
            hangs = error
            continue
        except PermissionError:
            refused = _closed(path)
            continue
        except OSError:
            continue  # a process that has died left it, or this one stops
        if answer.endswith(b"\n"):
            return _result(json.loads(answer))
        refused = f"the process behind {path} closed the connection; see its log"
    if refused:
        raise CommandFailed(refused)
    if hangs is not None:
        raise hangs
    raise NoProcess(
        f"no process of the data folder {folder} answers; start it, or name another --data-dir"
    )


def _ask(path: Path, line: bytes, timeout: float) -> bytes:
    """Return a process's answer to a request; nothing if it closes the connection.

    Raises OSError, ProcessHangs, and CommandFailed if the answer does not come in time.
    """
    with unix_socket.connect(path, timeout=_HUNG_AFTER) as sock, sock.makefile("rb") as answers:
        try:
            sock.sendall(_QUESTION)
            if not answers.readline():
                return b""
        except TimeoutError:
            raise ProcessHangs(
                f"the process behind {path} hangs: it has not answered for {_HUNG_AFTER:g} s. "
                "Nothing was changed; end it by `kill -9`, start it again, and repeat the command"
            ) from None
        sock.settimeout(timeout)
        try:
            sock.sendall(line)
            return answers.readline()
        except TimeoutError:
            raise CommandFailed(
                f"the process behind {path} has not answered within {timeout:g} s; what you asked "
                "for may still be done"
            ) from None


def _sockets(folder: Path) -> list[Path]:
    """Return the control sockets in a data folder; raises CommandFailed if none can be seen."""
    try:
        folder.stat()  # `glob` of some Pythons hides the error
    except PermissionError:
        raise CommandFailed(_closed(folder)) from None  # a folder above is closed
    except OSError:
        return []
    return sorted(folder.glob("control*.sock"))


def _closed(path: Path) -> str:
    return f"{path} is closed to this user; run the command as the program's user"


def _result(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise CommandFailed(answer["error"])
    return answer["result"]
