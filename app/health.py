"""The command `python -m app.health`, for supervisors that check a process by a command.

It asks the process that has the same settings, on this machine or in this container. It imports
little, since supervisors run it every few seconds.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from app.common.unix_http import UnixConnection
from app.settings import SettingsError, read_some

_TIMEOUT = 5.0  # seconds
_READY = "--ready"
_EVERY_IPV4, _EVERY_IPV6 = "0.0.0.0", "::"  # noqa: S104  (asked for, not listened on)


def main(arguments: Sequence[str]) -> int:
    """Ask /healthz, or with --ready /readyz; return 0, 1 if it is not well, 2 for a wrong call."""
    names = ("host", "port", "unix_socket", "base_path")
    try:
        settings = read_some(names, [each for each in arguments if each != _READY], os.environ)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    path = settings["base_path"] + ("/readyz" if _READY in arguments else "/healthz")
    connection = _connection(settings["unix_socket"], settings["host"], settings["port"])
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        print(answer.read(1000).decode("utf-8", "replace").strip())
    except (OSError, http.client.HTTPException) as error:
        print(f"error: no answer to {path}: {error or type(error).__name__}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if answer.status == 200 else 1


def _connection(
    unix_socket: Path | None, hosts: Sequence[str], port: int
) -> http.client.HTTPConnection:
    """Return a connection to the process: by its Unix socket, if it has one."""
    if unix_socket is not None:
        return UnixConnection(unix_socket, timeout=_TIMEOUT)
    host = {_EVERY_IPV4: "127.0.0.1", _EVERY_IPV6: "::1"}.get(hosts[0], hosts[0])
    return http.client.HTTPConnection(host, port, timeout=_TIMEOUT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
