"""--reload: the program starts anew when its files change, and its clients come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.reload.files import Files
from app.settings import parse_settings
from tests.support.copies import copy_upstream
from tests.support.node_client import NodeVisitor
from tests.support.process import Process, process
from tests.support.requirements import find_program
from tests.support.visitor import Visitor
from tests.support.waiting import until

pytestmark = pytest.mark.limit(120)


class Development:
    """A copy of the program that runs with --reload."""

    def __init__(self, root: Path, running: Process, log: Path) -> None:
        self.root, self.running, self._log = root, running, log

    def log(self) -> str:
        return self._log.read_text()

    def replace(self, name: str, old: str, new: str) -> None:
        """Edit a file, as an editor does that writes another one first."""
        path = self.root / name
        text = path.read_text()
        assert old in text
        beside = path.with_name(path.name + "~")
        beside.write_text(text.replace(old, new))
        beside.replace(path)


def copy_program(tmp_path: Path) -> Path:
    return copy_upstream(tmp_path / "fork")


@contextlib.asynccontextmanager
async def development(tmp_path: Path, *flags: str, path: str = "") -> AsyncIterator[Development]:
    root, log = copy_program(tmp_path), tmp_path / "log"
    flags = ("--reload", *flags)
    async with process(
        tmp_path / "data", *flags, log=log, root=root, program="app", PYTHONPATH=path
    ) as running:
        try:
            yield Development(root, running, log)
        finally:
            if running.process.returncode is None:
                await running.stop(signal.SIGINT)


async def test_clients_and_sessions_outlive_changes_of_code_and_faults_in_it(
    tmp_path: Path,
) -> None:
    """Code, a template, a static file; code that cannot be imported leaves the old one serving."""
    async with development(tmp_path) as here, NodeVisitor(here.running.url) as ann:
        await ann.sign_up("ann")
        sockets = [await ann.socket(each, reconnection=True) for each in ("polling", "websocket")]
        assert await ann.incr() == 1

        # code
        here.replace("handlers/counter.py", "data.count += 1", "data.count += 10")
        await until(lambda: all(socket.connects == 2 for socket in sockets), 60)
        assert await ann.incr() == 11
        assert await sockets[0].call("whoami") == "ann"
        assert await sockets[1].call("incr") == 21

        # code that cannot be imported
        here.replace("handlers/counter.py", "data.count += 10", "data.count +=")
        await until(lambda: "the old code goes on" in here.log(), 60)
        assert "SyntaxError" in here.log()
        assert await sockets[0].call("incr") == 31
        here.replace("handlers/counter.py", "data.count +=\n", "data.count += 100\n")
        await until(lambda: all(socket.connects == 3 for socket in sockets), 60)
        assert await sockets[1].call("incr") == 131

        # a template and a static file
        _, before = await ann.get("/")
        here.replace("handlers/templates/base.html", "Latchkey</a>", "Keylatch</a>")
        here.replace("static/counter.js", '"use strict";', '"use strict"; // changed')
        await until(lambda: all(socket.connects == 4 for socket in sockets), 60)
        _, after = await ann.get("/")
        assert "Keylatch</a>" in after
        version = "counter.js?v="
        assert before.partition(version)[2][:32] != after.partition(version)[2][:32]

        for socket in sockets:
            await socket.close()
        # Ctrl-C at a terminal reaches the supervisor, which tells the child
        assert await here.running.stop(signal.SIGINT) == 0
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(here.running.url.rpartition(":")[2]))


class Terminal:
    """A terminal, what was printed on it, and the keys that are pressed."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        self.printed = b""
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            self.printed += os.read(self._master, 4096)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._master)

    def press(self, keys: bytes) -> None:
        self.printed = b""
        os.write(self._master, keys)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self.slave)


async def test_a_breakpoint_and_ctrl_c_work_at_a_terminal(tmp_path: Path) -> None:
    """The handler stops in pdb; clients stay; a reload and Ctrl-C work afterwards."""
    root, terminal = copy_program(tmp_path), Terminal()
    counter = root / "handlers" / "counter.py"
    edit = "        async with self.session as data:\n            data.count += 1\n        await "
    text = counter.read_text()
    assert edit in text
    counter.write_text(text.replace(edit, "        breakpoint()\n" + edit, 1))
    child = await asyncio.create_subprocess_exec(
        *(find_program("setsid"), "--ctty", sys.executable, "-m", "app", "--reload", "--port=0"),
        *(f"--data-dir={tmp_path}/data", "--ping-interval=0.2"),
        cwd=root,
        env={**os.environ, "PYTHONPATH": ""},
        stdin=terminal.slave,
        stdout=terminal.slave,
        stderr=terminal.slave,
    )
    try:
        await until(lambda: b"; Ctrl-C stops it" in terminal.printed, 30)
        url = "http://" + terminal.printed.decode().partition("http://")[2].split()[0]
        async with Visitor(url) as ann:
            socket = await ann.socket("websocket")
            request = asyncio.create_task(ann.incr())
            await until(lambda: b"(Pdb)" in terminal.printed)
            terminal.press(b"p self.request.path\n")
            await until(lambda: b"'/incr'" in terminal.printed)
            await asyncio.sleep(1)  # several intervals of the heartbeat
            terminal.press(b"c\n")
            assert await request == 1
            assert await socket.call("incr") == 2
            assert socket.connects == 1
            (root / "static" / "new.css").write_text("")
            await until(lambda: b"; Ctrl-C stops it" in terminal.printed, 30)
            assert b"(Pdb)" not in terminal.printed
            await socket.close()
        terminal.press(b"\x03")
        assert await asyncio.wait_for(child.wait(), 20) == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        terminal.close()


HANGS = """
import os, pathlib, time
if (beside := pathlib.Path({folder!r}, "hang")).exists():
    beside.with_name("written").write_text(str(os.getpid()))
    beside.with_name("written").rename(beside.with_name("pid"))
    time.sleep(60)
"""


async def test_ctrl_c_during_a_reload_is_silent(tmp_path: Path) -> None:
    """It reaches the child too, while Python starts in it."""
    early = tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text(HANGS.format(folder=str(tmp_path)))
    async with development(tmp_path, "--store=memory", path=str(early)) as here:
        before = here.log()
        (tmp_path / "hang").write_text("")
        here.replace("handlers/counter.py", "data.count += 1", "data.count += 2")
        await until((tmp_path / "pid").exists, 30)
        child = int((tmp_path / "pid").read_text())
        os.kill(child, signal.SIGINT)
        assert await here.running.stop(signal.SIGINT) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
        said = here.log().removeprefix(before).splitlines()
        assert [line for line in said if " INFO " not in line] == [
            "latchkey: reload: handlers/counter.py changed"
        ]


async def test_the_child_ends_with_its_supervisor(tmp_path: Path) -> None:
    """A supervisor that is killed leaves no process behind; SIGTERM drains and exits with 0."""
    async with development(tmp_path, "--store=memory", "--drain-time=0") as here:
        assert "--store memory forgets all sessions at each reload" in here.log()
        supervisor = here.running.process.pid
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
        if not children.exists():
            pytest.skip("this kernel does not list the children of a process")
        (child,) = (int(word) for word in children.read_text().split())
        here.running.process.kill()
        await here.running.process.wait()

        def gone() -> bool:
            try:
                os.kill(child, 0)
            except ProcessLookupError:
                return True
            return False

        await until(gone, 30)
    async with development(tmp_path / "again", "--store=memory", "--drain-time=0") as here:
        assert await here.running.stop(signal.SIGTERM) == 0


def test_a_debugger_may_stop_the_process_for_long() -> None:
    """Clients learn from the handshake how long to wait; --ping-timeout is obeyed if given."""
    assert parse_settings(["--reload"], {}).ping_timeout == 3600
    assert parse_settings(["--reload", "--ping-timeout=7"], {}).ping_timeout == 7
    assert parse_settings([], {"LATCHKEY_RELOAD": "yes"}).ping_timeout == 3600
    assert parse_settings([], {}).ping_timeout == 20


async def test_files_of_editors_and_caches_are_not_watched(tmp_path: Path) -> None:
    """Files in any depth are, and several that change together are one change."""
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "__pycache__").mkdir()
    files = Files([tmp_path])
    for name in ("__pycache__/x.py", ".x.py", "x.py~", "x.pyc", ".x.py.swp", "4913"):
        (tmp_path / name).write_text("")
    (deep / "page.html").write_text("")
    (deep / "page.py").write_text("")
    assert await files.changed() == [deep / "page.html", deep / "page.py"]
    (deep / "page.py").unlink()
    assert await files.changed() == [deep / "page.py"]
