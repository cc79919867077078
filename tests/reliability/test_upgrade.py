"""A site of two processes goes to another release and back while people use it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.reliability.notes_site import NotesSite
from tests.support.browsers import browser, joined
from tests.support.postgres import Postgres
from tests.support.redis_server import empty_redis
from tests.support.visitor import Visitor

BROKEN = {
    "a syntax error": ("def broken(:\n", "SyntaxError"),
    "a package that is not installed": ("import lost\n", "--check of process 0 failed"),
    "a process that does not become ready": (
        "async def on_start(services):\n    raise RuntimeError('not today')\n",
        "process 0 was not ready within",
    ),
}


class Reader:
    """A user behind a proxy: asks one process after the other, and the next one if it is away."""

    def __init__(self, site: NotesSite, visitor: Visitor) -> None:
        self._site = site
        self._visitor = visitor
        self.failed: list[str] = []
        self.releases: set[str] = set()

    async def run(self) -> None:
        turn = 0
        while True:
            turn += 1
            answers = [await self._ask((turn + after) % 2) for after in (0, 1)]
            served = [found for found in answers if found is not None]
            if not served:
                self.failed.append("no process serves")
            for found in served:
                self.releases.add(found["release"])
                if found["user"] != "ann":
                    self.failed.append(f"signed out: {found}")
            await asyncio.sleep(0.1)

    async def _ask(self, number: int) -> dict[str, Any] | None:
        self._visitor.url = self._site.url(number)
        with contextlib.suppress(OSError, aiohttp.ClientError):
            status, text = await self._visitor.get("/notes")
            if status == 200:
                found: dict[str, Any] = json.loads(text)
                return found
        return None


@contextlib.asynccontextmanager
async def reading(site: NotesSite, visitor: Visitor) -> AsyncIterator[Reader]:
    """Let the user read all the time; at the end nothing may have failed."""
    reader = Reader(site, visitor)
    task = asyncio.ensure_future(reader.run())
    try:
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert reader.failed == []


@pytest.fixture
def site(tmp_path: Path, postgres: Postgres) -> Any:
    """A site on Redis and PostgreSQL, of which no release is installed yet."""
    made = NotesSite(
        tmp_path,
        LATCHKEY_STORE=empty_redis(),
        LATCHKEY_DATABASE=postgres.url(postgres.database()),
        LATCHKEY_DRAIN_TIME="0.5",
    )
    yield made
    made.stop()


@pytest.mark.limit(900)
async def test_a_site_is_upgraded_and_goes_back_while_it_is_used(site: NotesSite) -> None:
    """Bad releases change nothing; a migration and its way back lose no note and no session."""
    code, text = await site.run("upgrade", "v1")
    assert code == 0, text
    first = site.current()
    async with browser("official", site.url(0)) as ann, Visitor(site.url(0)) as again:
        await ann.sign_up("ann")
        assert (await ann.post("/notes"))[0] == 200
        ann.url = site.url(1)
        socket = await joined(ann, "websocket", reconnection=True)
        again.http.headers["Cookie"] = ann.cookie
        async with reading(site, again) as reader:
            for number, (what, (lines, reason)) in enumerate(BROKEN.items()):
                site.commit_notes(f"bad{number}", more=lines)
                pid = site.pid(1)
                code, text = await site.run("upgrade", f"bad{number}", "--ready-timeout=3")
                assert (code, site.current()) == (1, first), (what, text)
                assert reason in text, what
                assert site.pid(1) == pid, what
            assert reader.releases == {"v1"}
            assert (socket.connects, socket.ends()) == (1, [])
            site.commit_migration("v2")
            code, text = await site.run("upgrade", "v2")
            assert code == 0, text
            assert "handlers.notes 0001 to 0002" in text
            assert {await reader_release(site, ann, number) for number in (0, 1)} == {"v2"}
            code, text = await site.run("rollback")
            assert code == 1
            assert "does not know the newest migration of handlers.notes" in text
            assert "add --downgrade" in text
            code, text = await site.run("rollback", "--downgrade")
            assert (code, site.current()) == (0, first), text
            assert {await reader_release(site, ann, number) for number in (0, 1)} == {"v1"}
        assert await socket.call("whoami") == "ann"


async def reader_release(site: NotesSite, visitor: Visitor, number: int) -> str:
    """Return the release that a process runs; the note and the session are there."""
    visitor.url = site.url(number)
    found = json.loads((await visitor.get("/notes"))[1])
    assert (found["notes"], found["user"]) == (1, "ann")
    return str(found["release"])
