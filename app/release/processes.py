"""The running processes: how one restarts, and when it is ready."""

from __future__ import annotations

import http.client
import re
import shlex
import time
from pathlib import Path
from urllib.parse import urlsplit

from app.common.unix_http import UnixConnection
from app.release.commands import run
from app.release.errors import Stopped
from app.release.options import Options, numbers

_LOOK_INTERVAL = 0.2  # seconds
_LOOK_TIMEOUT = 5.0  # seconds that one answer may take
_RESTART_TIMEOUT = 300.0  # seconds; a process drains before it ends


class Processes:
    """Restarts processes by a command, and asks them by HTTP."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def numbers(self) -> list[str]:
        """Return the numbers of the processes; raises Stopped if systemd cannot be asked."""
        return numbers(self._options) or self._of_systemd()

    def restart(self, number: str, *, min_timeout: float = 0.0) -> float:
        """Restart a process, and wait until it stays ready; return the seconds until it was.

        It has --ready-timeout for that, and at least `min_timeout` seconds. Raises Stopped.
        """
        options = self._options
        began = time.monotonic()
        command = shlex.split(options.words(options.restart, number))
        run(
            command,
            f"process {number} does not restart",
            cwd=Path(options.root),
            timeout=_RESTART_TIMEOUT,
        )
        self._wait_until_ready(number, max(options.ready_timeout, min_timeout))
        seconds = time.monotonic() - began
        self._see_it_stay(number)
        return seconds

    def answer(self, number: str) -> str:
        """Return "" if a process says that it serves, else what is wrong."""
        url = self._options.words(self._options.ready, number)
        try:
            status, text = _get(url)
        except (OSError, http.client.HTTPException) as error:
            return f"{url}: {error}"
        return "" if status == 200 else f"{url} says {status} {text}"

    def _wait_until_ready(self, number: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while problem := self.answer(number):
            if time.monotonic() >= deadline:
                raise Stopped(
                    f"process {number} was not ready within {seconds:g} s ({problem}); its log "
                    "says why"
                )
            time.sleep(_LOOK_INTERVAL)

    def _see_it_stay(self, number: str) -> None:
        """Give a proxy the time to notice it, and see that it does not end soon."""
        deadline = time.monotonic() + self._options.settle
        while time.monotonic() < deadline:
            time.sleep(_LOOK_INTERVAL)
            if problem := self.answer(number):
                raise Stopped(f"process {number} was ready and is not any more ({problem})")

    def _of_systemd(self) -> list[str]:
        pattern = "latchkey@*.service"
        command = ["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]
        try:
            text = run(command, "systemctl", cwd=Path("/"))
        except Stopped as stopped:
            raise Stopped(f"name the processes by --processes; {stopped}") from None
        return sorted(re.findall(r"(?m)^latchkey@(\d+)\.service", text), key=int)


def _get(url: str) -> tuple[int, str]:
    """Return the status and the beginning of the body of a page."""
    if url.startswith("unix:"):
        connection: http.client.HTTPConnection = UnixConnection(
            Path(url.removeprefix("unix:")), timeout=_LOOK_TIMEOUT
        )
        path = "/readyz"
    else:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 80, timeout=_LOOK_TIMEOUT
        )
        path = parts.path or "/"
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(200).decode(errors="replace").strip()
    finally:
        connection.close()
