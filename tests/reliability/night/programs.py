"""The processes of the program, which are started again when they end, as systemd does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import aiohttp

from tests.reliability.notes_site import NotesSite

NUMBERS = (0, 1)
_PAUSE = 1.0  # seconds before one is started again: RestartSec of deploy/latchkey@.service
_INTERVAL = 0.2  # seconds between two looks


class Programs:
    """Two processes of `python -m app`, of the release that is current."""

    def __init__(self, releases: NotesSite) -> None:
        self.releases = releases
        self._keeper: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # held while the command of the releases restarts them

    @property
    def ports(self) -> list[int]:
        return [self.releases.port + number for number in NUMBERS]

    @property
    def urls(self) -> list[str]:
        return [self.releases.url(number) for number in NUMBERS]

    async def start(self) -> None:
        """Install the first release, which starts the processes."""
        await self.change("upgrade", "v1")
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self.releases.stop()

    async def change(self, *words: str, code: int = 0) -> None:
        """Run a command of `python -m app.release`, which ends with this exit code."""
        async with self._changing:
            found, text = await self.releases.run(*words)
        assert found == code, text

    def send(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a process."""
        os.kill(self.releases.pid(number), what)

    async def are_ready(self) -> bool:
        """Whether all processes can serve."""
        return all([await self._is_ready(number) for number in NUMBERS])

    def logged(self) -> str:
        return "".join(self.releases.log(number) for number in NUMBERS)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            async with self._changing:
                for number in NUMBERS:
                    if not _runs(self.releases.pid(number)):
                        await asyncio.sleep(_PAUSE)
                        await self._restart(number)

    async def _restart(self, number: int) -> None:
        restart = self.releases.root / "restart"
        process = await asyncio.create_subprocess_exec(restart, str(number))
        assert await process.wait() == 0

    async def _is_ready(self, number: int) -> bool:
        timeout = aiohttp.ClientTimeout(total=5)
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.get(f"{self.releases.url(number)}/readyz") as answer,
            ):
                return answer.status == 200
        return False


def _runs(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
