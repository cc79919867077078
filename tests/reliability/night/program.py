"""A process of the program that is started again when it ends, as systemd does."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import aiohttp

_PAUSE = 1.0  # seconds before it is started again: RestartSec of deploy/latchkey@.service


class Program:
    """`python -m app` with a process number of its own."""

    def __init__(self, folder: Path, number: int, port: int, environ: dict[str, str]) -> None:
        """`folder` gets its data and its log."""
        self.number, self.port = number, port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.environ = environ
        self.release: Path
        self.log = folder / "log"
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self, release: Path) -> None:
        """Run the release in this folder from now on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.release = release
        self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(self._python(), "-m", "app"),
                    f"--port={self.port}",
                    f"--process-number={self.number}",
                    f"--data-dir={self.folder / 'data'}",
                    cwd=self.release,
                    env=self.environ,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            await self._process.wait()
            await asyncio.sleep(_PAUSE)

    def _python(self) -> str:
        """Return the Python of the release, or where it has none that of the tests."""
        own = self.release / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that runs now."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def restart(self, release: Path | None = None) -> None:
        """Drain the process and start it again, as `systemctl restart` does."""
        await self.stop()
        await self.start(release or self.release)

    async def stop(self) -> None:
        """End it, and start it no more."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if self._process is not None:
            await self._process.wait()

    async def is_ready(self) -> bool:
        timeout = aiohttp.ClientTimeout(total=5)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"{self.url}/readyz") as answer,
            ):
                return answer.status == 200
        return False
