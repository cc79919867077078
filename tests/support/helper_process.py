"""A process that serves the tests of this one on a Unix socket, until they end."""

from __future__ import annotations

import atexit
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.paths import ROOT


class HelperProcess:
    """A program that prints "ready" once it listens, and ends with its standard input."""

    def __init__(self, *command: str, environ: Mapping[str, str] = os.environ) -> None:
        """Start it and wait until it is ready; the socket's path is its last argument."""
        self._folder = tempfile.TemporaryDirectory(prefix="latchkey-helper-")
        self.path = str(Path(self._folder.name, "socket"))
        self._process = subprocess.Popen(
            [*command, self.path],
            cwd=ROOT,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        atexit.register(self._stop)

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def _stop(self) -> None:
        self._process.communicate()
        self._folder.cleanup()
