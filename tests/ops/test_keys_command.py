"""`python -m app keys`: the keys are changed while the processes run, and nobody is signed out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.ops.key_follower import KeyFollower
from app.ops.keys import fingerprint, signing_keys
from app.settings import Settings
from tests.ops.test_keys import strangers_try
from tests.support.browsers import PythonVisitor, browser, joined
from tests.support.process import Process, process, run
from tests.support.redis_server import empty_redis
from tests.support.visitor import Visitor
from tests.support.waiting import until

OLD, NEW = "old-key-" + "o" * 32, "new-key-" + "n" * 32


class Pair:
    """Two processes on one Redis that read one file of keys, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "keys"
        self.environ = {"LATCHKEY_STORE": empty_redis(), "LATCHKEY_SECRET_KEY_FILE": str(self.file)}
        self.running: list[Process] = []

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run the command beside process 0; return its exit code, and what it says."""
        code, out, error = await run(
            "keys", *arguments, f"--data-dir={self.folder / '0'}", **self.environ
        )
        return code, out + error

    async def listed(self) -> list[dict[str, Any]]:
        code, text = await self.command("list", "--json")
        assert code == 0, text
        keys: list[dict[str, Any]] = json.loads(text)["keys"]
        return keys

    def keys(self) -> list[str]:
        return self.file.read_text().split()


@contextlib.asynccontextmanager
async def pair(folder: Path, *, files: tuple[str, str] = ("keys", "keys")) -> AsyncIterator[Pair]:
    """Two processes; `files` name the file of keys that each of them reads."""
    two = Pair(folder)
    flags = ("--failed-logins-per-minute=3", "--drain-time=0")
    async with contextlib.AsyncExitStack() as stack:
        for number, name in enumerate(files):
            environ: dict[str, Any] = {
                **two.environ,
                "LATCHKEY_SECRET_KEY_FILE": str(folder / name),
            }
            one = process(folder / str(number), f"--process-number={number}", *flags, **environ)
            two.running.append(await stack.enter_async_context(one))
        yield two


@pytest.mark.limit(120)
async def test_a_rotation_signs_nobody_out_and_closes_no_socket(tmp_path: Path) -> None:
    """Official clients by both transports stay; the old key is refused when it is retired."""
    async with (
        pair(tmp_path) as two,
        browser("official", two.running[0].url) as ann,
        Visitor(two.running[0].url) as bob,
    ):
        await ann.sign_up("ann")
        await bob.sign_up("bob")
        sockets = [await joined(ann, mode) for mode in ("polling", "websocket")]
        ann.url = two.running[1].url
        sockets.append(await joined(ann, "websocket"))
        (old,), signed_by_old = two.keys(), ann.cookie
        signed_out: list[str] = []
        browsing = asyncio.ensure_future(_browse(two, PythonVisitor, signed_by_old, signed_out))
        code, text = await two.command("rotate")
        assert code == 0, text
        assert "is accepted until you retire it" in text
        kept, new = two.keys()
        assert kept == old
        assert new not in text
        for process_ in two.running:
            for cookie in (signed_by_old, ann.cookie):
                async with Visitor(process_.url, Cookie=cookie) as again:
                    assert (await again.get("/account"))[0] == 200
        ann.url = two.running[1].url
        assert (await ann.get("/account"))[0] == 200
        assert ann.cookie != signed_by_old  # signed anew, by the new key
        await strangers_try("bob", two.running[0].url)
        await bob.sign_in("bob")  # a device that the old key signed is still known
        code, text = await two.command("retire", fingerprint(old)[:6])
        assert code == 1
        assert "their users would be signed out; if the key was stolen, add --force" in text
        assert signed_out == []
        browsing.cancel()
        await asyncio.gather(browsing, return_exceptions=True)
        code, text = await two.command("retire", fingerprint(old)[:6], "--force")
        assert (code, two.keys()) == (0, [new]), text
        for process_ in two.running:
            async with Visitor(process_.url, Cookie=signed_by_old) as late:
                assert (await late.get("/account"))[0] != 200
            ann.url = process_.url
            assert (await ann.get("/account"))[0] == 200
        for socket in sockets:
            assert await socket.call("whoami") == "ann"
            assert (socket.connects, socket.ends()) == (1, [])
        (row,) = await two.listed()
        assert row["key"] == fingerprint(new)
        assert (row["signs"], row["accepted_by"]) == (True, ["0", "1"])


async def _browse(two: Pair, kind: type[Visitor], cookie: str, signed_out: list[str]) -> None:
    """Ask both processes who is signed in, by the cookie that the old key has signed."""
    while True:
        for each in two.running:
            async with kind(each.url, Cookie=cookie) as visitor:
                status, text = await visitor.get("/")
                if "Signed in as" not in text:
                    signed_out.append(f"{each.url}: {status}")
        await asyncio.sleep(0.1)


@pytest.mark.limit(120)
async def test_nothing_signs_with_a_key_that_a_process_does_not_accept(tmp_path: Path) -> None:
    """Two hosts with a file each: the file is copied, and the same command goes on."""
    for name in ("keys", "copy"):
        (tmp_path / name).write_text(OLD + "\n")
    async with pair(tmp_path, files=("keys", "copy")) as two, Visitor(two.running[0].url) as ann:
        await ann.sign_up("ann")
        before = ann.cookie
        code, text = await two.command("rotate", "--wait=1")
        assert code == 1
        assert "is not accepted by process 1 yet" in text
        assert two.keys()[1:] == [OLD]
        assert [row["next"] for row in await two.listed()] == [True, False]
        await ann.get("/account")
        assert ann.cookie == before
        (tmp_path / "copy").write_text(two.file.read_text())
        code, text = await two.command("rotate", "--wait=1")
        assert code == 0, text
        assert "the key before still used, by process 1" in text
        assert len(two.keys()) == 2
        for one in two.running:
            ann.url = one.url
            assert (await ann.get("/account"))[0] == 200
        code, text = await two.command("rotate", "--wait=1")
        assert code == 1
        assert "signs in process 1. If they read a copy" in text
        code, text = await two.command("retire", fingerprint(OLD))
        assert code == 1
        assert "still signs in process 1" in text


async def test_the_key_of_a_data_folder_is_rotated_too(tmp_path: Path) -> None:
    """A site of one process needs no setting; a file that is damaged then changes nothing."""
    data, log = tmp_path / "data", tmp_path / "log"
    async with process(data, log=log) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        before = ann.cookie
        code, _, error = await run("keys", "rotate", f"--data-dir={data}")
        assert code == 0, error
        path = data / "secret_key"
        assert len(path.read_text().split()) == 2
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await ann.get("/account"))[0] == 200
        assert ann.cookie != before
        path.write_text("damaged\n")
        await until(lambda: "the keys stay as they are" in log.read_text())
        assert (await ann.get("/account"))[0] == 200


async def test_a_key_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    """A running process never makes a key, which would sign everybody out."""
    settings = Settings(data_dir=tmp_path)
    keys = signing_keys(settings)
    follower = KeyFollower(settings, keys)
    (tmp_path / "secret_key").unlink()
    await follower.look()
    assert follower.keys == keys
    assert not (tmp_path / "secret_key").exists()


async def test_old_keys_are_retired_when_their_cookies_are_over(tmp_path: Path) -> None:
    """Without a name; no process has to run. The key that signs is never retired."""
    data = tmp_path / "data"
    data.mkdir()
    path = data / "secret_key"
    path.write_text(f"{OLD}\n")

    async def keys(*arguments: str, **environ: str) -> tuple[int, str]:
        code, out, error = await run("keys", *arguments, f"--data-dir={data}", **environ)
        return code, out + error

    assert (await keys("rotate"))[0] == 0
    code, text = await keys("retire")
    assert code == 0
    assert f"cookies may need {fingerprint(OLD)} until" in text
    code, text = await keys("retire", LATCHKEY_SESSION_MAX_AGE="0.01")
    assert code == 0, text
    (new,) = path.read_text().split()
    assert f"the key {fingerprint(OLD)} is accepted no more" in text
    code, text = await keys("retire", fingerprint(new), "--force")
    assert code == 1
    assert "signs; rotate first" in text
    code, text = await keys("retire", "beef")
    assert code == 2
    assert f"name one key of: {fingerprint(new)}" in text


async def test_a_key_that_signed_until_nobody_knows_when_is_kept(tmp_path: Path) -> None:
    """It was added by hand, so its time begins when the command first sees it."""
    (tmp_path / "secret_key").write_text(f"{OLD}\n{NEW}\n")
    code, _, error = await run("keys", "retire", fingerprint(OLD), f"--data-dir={tmp_path}")
    assert code == 1
    assert "cookies may need" in error
    assert (tmp_path / "secret_key").read_text() == f"{OLD}\n{NEW}\n"


@pytest.mark.parametrize("command", ["rotate", "retire"])
async def test_keys_in_settings_are_left_to_the_operator(tmp_path: Path, command: str) -> None:
    """The command cannot change them; `list` shows their fingerprints."""
    settings = {"LATCHKEY_SECRET_KEYS": f"{OLD},{NEW}"}
    code, _, error = await run("keys", command, f"--data-dir={tmp_path}", **settings)
    assert code == 1
    assert "name it by --secret-key-file in place of --secret-keys" in error
    code, out, _ = await run("keys", "list", f"--data-dir={tmp_path}", **settings)
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        fingerprint(OLD),
        fingerprint(NEW),
    ]
    assert OLD not in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_the_programs_user_keeps_the_file(tmp_path: Path) -> None:
    """Root rotates the key that another user's process reads."""
    path = tmp_path / "secret_key"
    path.write_text(f"{OLD}\n")
    os.chown(path, 1234, 1235)
    assert (await run("keys", "rotate", f"--data-dir={tmp_path}"))[0] == 0
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 1235, 0o600)
