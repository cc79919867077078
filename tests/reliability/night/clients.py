"""The clients of a night: processes of Node with the official socket.io-client."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.node_client import FOLDER, install

_CLIENTS_PER_PROCESS = 125
_LONGEST_LINE = 8_000_000  # bytes


@dataclass
class Tally:
    """What clients did while something happened, and what was wrong after it."""

    pages: int = 0
    events: int = 0
    reconnects: int = 0
    longest: float = 0.0  # seconds from the first try of something until it was answered
    failed: Counter[str] = field(default_factory=Counter[str])
    lost: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    signed_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, answers: Iterable[dict[str, Any]]) -> Tally:
        """Add up the answers of all processes."""
        tally = cls()
        for answer in answers:
            tally.pages += answer["pages"]
            tally.events += answer["events"]
            tally.reconnects += answer["reconnects"]
            tally.longest = max(tally.longest, answer["longest"] / 1000)
            tally.failed.update(answer["failed"])
            tally.lost += answer.get("lost", [])
            tally.extra += answer.get("extra", [])
            tally.signed_out += answer.get("signedOut", [])
        return tally


class Clients:
    """Signed-in users, each with a browser's jar, pages and a socket."""

    def __init__(
        self, url: str, processes: list[str], certificate: Path, count: int, pause: float
    ) -> None:
        """`pause` is the mean of seconds between two things that one client does.

        Users register at the addresses of the processes, since each address may register few.
        """
        self._url, self._certificate, self._pause = url, certificate, pause
        self._urls = processes
        self._counts = _shares(count)
        self._processes: list[_Node] = []

    async def __aenter__(self) -> Clients:
        environ = {**os.environ, "NODE_EXTRA_CA_CERTS": str(self._certificate)}
        first = 0
        for count in self._counts:
            arguments = (self._url, str(first), str(count), str(self._pause), *self._urls)
            self._processes.append(await _Node.start(*arguments, environ=environ))
            first += count
        return self

    async def __aexit__(self, *error: object) -> None:
        for process in self._processes:
            await process.stop()

    async def begin(self) -> None:
        """Register all users and connect their sockets."""
        await self._do("begin")

    async def work(self) -> None:
        """Let all clients work until `check`."""
        await self._do("work")

    async def tally(self) -> Tally:
        """Return what was done since `work` began."""
        return Tally.of(await self._do("tally"))

    async def check(self) -> Tally:
        """End the work, compare every client with what the site has stored, and return both."""
        return Tally.of(await self._do("check"))

    async def _do(self, command: str) -> list[Any]:
        return await asyncio.gather(*(process.do(command) for process in self._processes))


def _shares(count: int) -> list[int]:
    """Divide clients among processes."""
    processes = -(-count // _CLIENTS_PER_PROCESS)
    return [count // processes + (number < count % processes) for number in range(processes)]


class _Node:
    """One process of Node; a command goes in as a line of JSON, and its answer comes out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._last = 0

    @classmethod
    async def start(cls, *arguments: str, environ: dict[str, str]) -> _Node:
        return cls(
            await asyncio.create_subprocess_exec(
                *(install(), str(FOLDER / "night.mjs"), *arguments),
                env=environ,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LONGEST_LINE,
            )
        )

    async def do(self, command: str) -> Any:
        """Run one command; raises RuntimeError with the client's error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._last += 1
        line = json.dumps({"id": self._last, "do": command})
        self._process.stdin.write(line.encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline() or '{"error": "it has ended"}')
        if "error" in answer:
            raise RuntimeError(f"clients, {command}: {answer['error']}")
        return answer["answer"]

    async def stop(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
