"""What systemd tells the process, and what the process tells systemd."""

from __future__ import annotations

import contextlib
import os
import socket
import time

_FIRST = 3  # descriptor of the first socket (sd_listen_fds(3))
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def notify(state: str) -> None:
    """Send a state such as READY=1 (sd_notify(3)); do nothing if no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    # an address that begins with @ is in Linux' abstract namespace
    name = "\0" + address[1:] if address[0] == "@" else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode(), name)


class Watchdog:
    """Tells systemd that the loop runs, if the unit has WatchdogSec= (sd_watchdog_enabled(3))."""

    def __init__(self) -> None:
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        given = os.environ.get("WATCHDOG_USEC", "")
        # half of the time that systemd waits, as it recommends
        self._interval = int(given) / 2e6 if mine and given.isdecimal() and int(given) else None
        self._fed = float("-inf")

    def feed(self) -> None:
        """Tell systemd at most twice in the time that it waits; call it from the loop, often."""
        now = time.monotonic()
        # a little earlier than needed: the next call may come late
        if self._interval is not None and now - self._fed >= 0.8 * self._interval:
            self._fed = now
            notify("WATCHDOG=1")


def inherited_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd has passed to this process (sd_listen_fds(3)).

    A second call returns none. Raises OSError for one that does not listen on a stream.
    """
    given = {name: os.environ.pop(name, "") for name in _VARIABLES}
    if given["LISTEN_PID"] != str(os.getpid()) or not given["LISTEN_FDS"].isdecimal():
        return []
    return [_inherited(_FIRST + number) for number in range(int(given["LISTEN_FDS"]))]


def _inherited(descriptor: int) -> socket.socket:
    os.set_inheritable(descriptor, False)
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise OSError(f"systemd passed descriptor {descriptor}, which is no socket") from error
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type != socket.SOCK_STREAM or not listens:
        sock.close()
        raise OSError(
            f"systemd passed descriptor {descriptor}, which does not listen for connections; "
            "the socket unit needs ListenStream= and Accept=no"
        )
    sock.setblocking(False)
    return sock
