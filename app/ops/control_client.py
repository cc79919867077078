"""A client of the control socket, for commands and scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.common import unix_socket
from app.ops.control import CommandFailed


class NoProcess(CommandFailed):
    """No process of the data folder answers."""


def call(folder: Path, command: str, arguments: Mapping[str, Any], *, timeout: float) -> Any:
    """Have a process that uses this data folder run a command; return its result.

    `timeout` is in seconds. Raises CommandFailed with a sentence, NoProcess if none answers.
    """
    line = json.dumps({"command": command, "arguments": arguments}).encode() + b"\n"
    refused = ""
    for path in _sockets(folder):
        try:
            with unix_socket.connect(path, timeout=timeout) as sock:
                sock.sendall(line)
                with sock.makefile("rb") as answers:
                    answer = answers.readline()
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
    raise NoProcess(
        f"no process of the data folder {folder} answers; start it, or name another --data-dir"
    )


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
