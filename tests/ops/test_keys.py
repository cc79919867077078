"""The key that signs cookies is changed without ending sessions."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browsers import PythonVisitor, joined
from tests.support.process import Process, process
from tests.support.redis_server import empty_redis
from tests.support.visitor import Visitor

OLD, NEW = "old-key-" + "o" * 32, "new-key-" + "n" * 32


class Pair:
    """Two processes on one Redis, and a browser that uses both of them all the time."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self._folder = folder
        self._flags = (*flags, f"--store={empty_redis()}", "--drain-time=0")
        self._stack = contextlib.AsyncExitStack()
        self.running: dict[int, Process] = {}
        self.pages = 0
        self.signed_out: list[str] = []

    async def begin(self, number: int, *keys: str) -> None:
        """Start one process with these keys."""
        self.log(number).unlink(missing_ok=True)
        flags = (*self._flags, f"--process-number={number}", f"--secret-keys={','.join(keys)}")
        self.running[number] = await self._stack.enter_async_context(
            process(self._folder / str(number), *flags, log=self.log(number))
        )

    async def restart(self, number: int, *keys: str) -> None:
        """Restart one process as a rolling restart does, and see the browser at both of them."""
        stopping = self.running.pop(number)
        assert await stopping.stop() == 0
        await self.begin(number, *keys)
        seen = self.pages
        while self.pages < seen + 4:
            await asyncio.sleep(0.01)

    def log(self, number: int) -> Path:
        return self._folder / f"log {number}"

    async def use(self, visitor: Visitor) -> None:
        """Ask one process after the other who is signed in, as a browser behind a proxy does."""
        turn = 0
        while True:
            turn += 1
            for number in list(self.running):
                if number in self.running:
                    visitor.url = self.running[number].url
                    with contextlib.suppress(OSError):  # it is being restarted
                        status, text = await visitor.get("/")
                        if "Signed in as" not in text:
                            self.signed_out.append(f"process {number}: {status}")
                        self.pages += 1
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def pair(folder: Path, *flags: str) -> AsyncIterator[Pair]:
    """Two processes that both have the old key."""
    two = Pair(folder, *flags)
    try:
        for number in (0, 1):
            await two.begin(number, OLD)
        yield two
    finally:
        await two.stop()


@pytest.mark.limit(90)
async def test_a_key_is_changed_at_two_processes_without_ending_sessions(tmp_path: Path) -> None:
    """Accepted by both, then signing at both, then the old one retired, restart by restart."""
    async with (
        pair(tmp_path, "--failed-logins-per-minute=3") as two,
        PythonVisitor(two.running[0].url) as ann,
        Visitor(two.running[0].url) as bob,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        signed_by_old = ann.cookie
        browsing = asyncio.ensure_future(two.use(ann))
        for keys in ((NEW, OLD), (OLD, NEW)):
            for number in (0, 1):
                await two.restart(number, *keys)
        assert ann.cookie != signed_by_old
        await strangers_try("bob", two.running[0].url)
        bob.url = two.running[0].url
        await bob.sign_in("bob")  # a device that the old key signed is still known
        for number in (0, 1):
            await two.restart(number, NEW)
        browsing.cancel()
        await asyncio.gather(browsing, return_exceptions=True)
        assert two.signed_out == []
        for number in (0, 1):
            assert "latchkey.keys" not in two.log(number).read_text()
            ann.url = two.running[number].url
            socket = await joined(ann, "websocket")
            assert await socket.call("whoami") == "ann"
            async with Visitor(ann.url, Cookie=signed_by_old) as late:
                assert (await late.get("/account"))[0] != 200


async def strangers_try(name: str, url: str) -> None:
    """Use up the attempts of unknown devices."""
    wrong = {"username": name, "password": "not the right one"}
    async with Visitor(url) as thief:
        for _ in range(3):
            assert (await thief.post("/login", json=wrong))[0] == 401
        assert (await thief.post("/login", json=wrong))[0] == 429


async def test_a_key_that_signs_before_all_processes_accept_it_is_logged(tmp_path: Path) -> None:
    """The warning says what to do."""
    async with pair(tmp_path) as two:
        assert "latchkey.keys" not in two.log(1).read_text()
        stopping = two.running.pop(1)
        assert await stopping.stop() == 0
        await two.begin(1, OLD, NEW)
        said = two.log(1).read_text()
        assert "do not accept each other's cookies" in said
        assert "first put the new key at" in said
        assert NEW not in said
        assert OLD not in said


async def test_the_key_of_the_first_start_is_changed_without_ending_sessions(
    tmp_path: Path,
) -> None:
    """It stays accepted beside --secret-keys until its file is deleted."""
    data, log = tmp_path / "data", tmp_path / "log"
    async with process(data) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        signed_by_kept = ann.cookie
        await site.stop()
        async with process(data, f"--secret-keys={NEW}", log=log) as site:
            ann.url = site.url
            assert (await ann.get("/account"))[0] == 200
            assert ann.cookie != signed_by_kept
            assert "secret_key is accepted besides --secret-keys; delete it" in log.read_text()
            await site.stop()
        (data / "secret_key").unlink()
        log.unlink()
        async with process(data, f"--secret-keys={NEW}", log=log) as site:
            ann.url = site.url
            assert (await ann.get("/account"))[0] == 200
            assert "latchkey.keys" not in log.read_text()
            async with Visitor(site.url, Cookie=signed_by_kept) as late:
                assert (await late.get("/account"))[0] != 200


async def test_a_key_that_is_added_to_the_kept_file_signs(tmp_path: Path) -> None:
    """One key a line, of which the last one signs, as in --secret-keys."""
    data = tmp_path / "data"
    async with process(data) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        old = ann.cookie
        await site.stop()
        with (data / "secret_key").open("a") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        async with process(data) as site:
            ann.url = site.url
            assert (await ann.get("/account"))[0] == 200
            assert ann.cookie != old


@pytest.mark.parametrize("change", ["another key", "no file"])
async def test_a_start_that_ends_all_sessions_logs_a_warning(tmp_path: Path, change: str) -> None:
    """With the remedy; the next start logs nothing."""
    data, log = tmp_path / "data", tmp_path / "log"
    flags = ["", ""] if change == "no file" else [f"--secret-keys={OLD}", f"--secret-keys={NEW}"]
    async with process(data, *filter(None, flags[:1]), log=log) as site:
        assert "latchkey.keys" not in log.read_text()
        await site.stop()
    (data / "secret_key").unlink(missing_ok=True)
    async with process(data, *filter(None, flags[1:]), log=log) as site:
        said = log.read_text()
        assert said.count("everybody who is signed in is signed out") == 1
        assert "put the old key in front of the new one" in said
        assert OLD not in said
        await site.stop()
    log.unlink()
    async with process(data, *filter(None, flags[1:]), log=log):
        assert "latchkey.keys" not in log.read_text()
