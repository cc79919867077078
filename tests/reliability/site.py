"""One process of the program, and clients that work with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.reliability.workers import Worker
from tests.support.ports import free_port
from tests.support.process import Process, process
from tests.support.visitor import Visitor

_UNLIMITED = ("--handshakes-per-minute=0", "--failed-logins-per-minute=0", "--events-per-second=0")


class Site:
    """One process that is killed and started again on the same port and data."""

    def __init__(self, folder: Path, *flags: str, data: Path | None = None, **environ: str) -> None:
        """`data` is another folder for its data."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.logs: list[Path] = []
        self._folder = folder
        self.data = data or folder / "data"
        self._environ: dict[str, Any] = environ
        self._flags = (f"--port={self.port}", *_UNLIMITED, *flags)
        self._stack = contextlib.AsyncExitStack()
        self.running: Process | None = None
        self.preload = True  # False: it is started as a command, with the limits of this process

    async def start(self) -> None:
        self.logs.append(log := self._folder / f"log{len(self.logs)}")
        program = process(self.data, *self._flags, log=log, preload=self.preload, **self._environ)
        self.running = await self._stack.enter_async_context(program)

    async def kill(self) -> None:
        assert self.running is not None
        await self.running.stop(signal.SIGKILL)
        await self._stack.aclose()

    def logged(self) -> str:
        return "".join(log.read_text() for log in self.logs)

    async def is_ready(self) -> bool:
        async with Visitor(self.url) as visitor:
            return bool((await visitor.get("/readyz"))[0] == 200)


@contextlib.asynccontextmanager
async def working(site: Site, clients: int) -> AsyncIterator[list[Worker]]:
    """Sign up this many clients."""
    workers = [Worker(site.url, f"worker{number}") for number in range(clients)]
    try:
        for worker in workers:
            await worker.visitor.sign_up(worker.name)
        yield workers
    finally:
        for worker in workers:
            await worker.visitor.close()


@contextlib.asynccontextmanager
async def at_work(workers: list[Worker]) -> AsyncIterator[None]:
    """Let workers work; raise what one of them raises."""
    tasks = [asyncio.ensure_future(worker.work()) for worker in workers]
    try:
        yield
    finally:
        await stopped(tasks)


async def stopped(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks, and raise what one of them has raised."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
