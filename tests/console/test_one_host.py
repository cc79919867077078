"""`python -m app.accounts` and `python -m app.sessions` beside a server, and without one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.ops import control_client
from app.ops.control import CommandFailed
from app.settings import PREFIX
from tests.support.accounts import add
from tests.support.browsers import browser, ended
from tests.support.forms import PASSWORD, send, who
from tests.support.paths import ROOT
from tests.support.process import Process, process, run
from tests.support.visitor import Visitor
from tests.support.waiting import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Process]:
    """The demo in a process of its own, on SQLite."""
    async with process(tmp_path) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The flag that names the data folder."""
    return f"--data-dir={tmp_path}"


async def accounts(*arguments: str, **environ: str) -> tuple[int, str, str]:
    return await run(*arguments, program="app.accounts", **environ)


async def sessions(*arguments: str, **environ: str) -> tuple[int, str, str]:
    return await run(*arguments, program="app.sessions", **environ)


async def result(*arguments: str, program: str = "app.accounts") -> Any:
    """Run a command with --json that succeeds; return what it printed."""
    code, out, error = await run(*arguments, "--json", program=program)
    assert (code, error) == (0, ""), error
    return json.loads(out)


@pytest.mark.asvs("7.4.5")
@pytest.mark.limit(60)
async def test_a_disabled_user_is_out(server: Process, folder: str) -> None:
    """The official client is told and does not come back; the sign-in is refused."""
    async with browser("official", server.url) as ann:
        await ann.sign_up("ann")
        socket: Any = await ann.socket(reconnection=True)
        code, out, error = await accounts("disable", "ANN", folder)
        assert (code, out, error) == (0, "ann is disabled, and 1 session was ended\n", "")
        await until(lambda: ended(socket))
        answer = await send(ann, "json", "/login", username="ann", password=PASSWORD)
        assert (answer.status, "disabled" in answer.text) == (403, True)
        assert await who(ann) is None
        assert (await accounts("enable", "ann", folder))[1] == "ann can sign in again\n"
        assert (await accounts("enable", "ann", folder))[1] == "ann was not disabled\n"
        await ann.sign_in("ann")


@pytest.mark.limit(60)
async def test_accounts_as_json(server: Process, folder: str) -> None:
    """The shapes that docs/operators.md names."""
    async with Visitor(server.url) as ann:
        await ann.sign_up("ann")
        found = await result("list", folder)
        (row,) = found["accounts"]
        assert row == {
            "id": row["id"],
            "name": "ann",
            "created": row["created"],
            "disabled": None,
            "roles": [],
            "email": None,
            "has_password": True,
        }
        assert (found["total"], found["after"]) == (1, None)
        changed = await result("role", "ann", "+admin", "+moderator", folder)
        assert changed["account"]["roles"] == ["admin", "moderator"]
        changed = await result("role", "ann", "-moderator", folder)
        assert changed["account"]["roles"] == ["admin"]
        shown = await result("show", row["id"], folder)
        assert set(shown) == {"account", "sign_in", "sessions", "audit"}
        assert shown["sign_in"] == {"two_step": False, "recovery_codes_left": 0}
        assert (await result("two-step", "ann", "--off", folder))["changed"] is False
        assert [event["event"] for event in shown["audit"]][:2] == ["role change"] * 2
        exported = await result("export", "ann", folder)
        assert set(exported) == {"account", "sign_in", "sessions", "audit"}
        link = await result("reset", "ann", folder)
        assert link["link"].startswith("/reset?token=")
        assert link["lifetime"] == 3600
        events = (await result("audit", "ann", "--event", "sign-in", folder))["events"]
        assert [(e["event"], e["method"], e["actor"]) for e in events] == [
            ("sign-in", "password", None)
        ]
        renamed = await result("rename", "ann", "Anna", folder)
        assert renamed["account"]["name"] == "Anna"
        assert (await result("delete", "anna", "--yes", folder))["account"]["id"] == row["id"]
        assert (await result("list", folder))["accounts"] == []
        # an auditor finds a deleted account by its id
        events = (await result("audit", row["id"], "--limit", "1", folder))["events"]
        assert (events[0]["event"], events[0]["actor"]) == ("deletion", "command line")


@pytest.mark.limit(60)
async def test_sessions_as_json(server: Process, folder: str) -> None:
    """Listed, shown by the beginning of the id, and ended one by one or all."""
    async with Visitor(server.url) as ann, Visitor(server.url) as visitor:
        await ann.sign_up("ann")
        await visitor.incr()
        found = await result("list", folder, program="app.sessions")
        assert found["total"] == 2
        (hers,) = (await result("list", "--user=ann", folder, program="app.sessions"))["sessions"]
        assert (hers["user"], hers["method"], len(hers["id"])) == ("ann", "password", 32)
        shown = await result("show", hers["id"][:12], folder, program="app.sessions")
        assert shown["session"]["id"] == hers["id"]
        numbers = await result("stats", folder, program="app.sessions")
        assert (numbers["sessions"], numbers["visitors"], numbers["users"]) == (2, 1, 1)
        assert numbers["sign_ins"] == {"hour": 1, "day": 1}
        stale = await result("list", "--stale=1h", folder, program="app.sessions")
        assert stale == {"sessions": [], "total": 0}
        await result("end", hers["id"][:12], folder, program="app.sessions")
        assert await who(ann) is None
        code, _, error = await sessions("end", hers["id"], folder)
        assert (code, "no session has the id" in error) == (1, True)
        done = await result("end", "--all", "--yes", folder, program="app.sessions")
        assert done["ended"] >= 1
        assert (await result("list", folder, program="app.sessions"))["total"] == 0


@pytest.mark.limit(60)
async def test_wrong_calls_and_unknown_names(server: Process, folder: str) -> None:
    """2 for a wrong call, 1 for what cannot be done; one sentence each."""
    async with Visitor(server.url) as ann:
        await ann.sign_up("annabel")
        for arguments, code, said in (
            (("show", "anabel"), 1, "did you mean annabel?"),
            (("disable", "nobody at all"), 1, "no account has the name or the id"),
            (("delete", "annabel"), 2, "pass --yes"),
            (("role", "annabel", "admin"), 2, "write +admin to add this role"),
            (("role", "annabel", "+Admin!"), 1, "is no name of a role"),
            (("rename", "annabel", "a:b"), 1, "web address"),
            (("audit", "--since", "lately"), 2, "write a day such as 2026-11-01"),
            (("list", "--limit", "many"), 2, "write a number"),
            (("add", "x", "--link", "--password-stdin"), 2, "exclude each other"),
            (("rename", "annabel"), 2, "see python -m app.accounts rename --help"),
        ):
            found = await accounts(*arguments, folder)
            assert (found[0], found[1]) == (code, ""), arguments
            assert said in found[2]
            assert found[2].startswith("latchkey: ")
            assert found[2].count("\n") == 1
        for words, code, said in (
            (("end",), 2, "name one"),
            (("end", "--all", "--user=annabel"), 2, "name one"),
            (("end", "--all"), 2, "pass --yes"),
            (("end", "--stale=7"), 2, "write a duration"),
            (("list", "--user=anabel"), 1, "did you mean annabel?"),
        ):
            found = await sessions(*words, folder)
            assert (found[0], found[1]) == (code, ""), words
            assert said in found[2]


@pytest.mark.limit(60)
async def test_a_table_fits_a_narrow_terminal(server: Process, folder: str) -> None:
    """COLUMNS is the width; cells are cut and columns left out, names stay readable."""
    async with Visitor(server.url) as ann:
        await ann.sign_up("a rather long name, which is cut")
        await ann.socket()
        for columns in (40, 60, 80):
            for call in (accounts("list", folder, COLUMNS=str(columns)),):
                _, out, _ = await call
                lines = out.splitlines()
                assert max(map(len, lines)) <= columns, out
                assert "a rather lon"[:11] in out
        _, out, _ = await sessions("list", folder, COLUMNS="60")
        assert max(map(len, out.splitlines())) <= 60, out


@pytest.mark.limit(60)
async def test_without_a_server_the_files_are_used(tmp_path: Path, folder: str) -> None:
    """Also after a server that has left sessions behind; a folder that is not there is named."""
    async with process(tmp_path) as server, Visitor(server.url) as ann:
        await ann.sign_up("ann")
        assert await server.stop() == 0
    assert (await result("list", folder, program="app.sessions"))["total"] == 1
    code, out, error = await accounts("disable", "ann", folder)
    assert (code, out) == (0, "ann is disabled, and 1 session was ended\n"), error
    assert (await result("list", folder, program="app.sessions"))["total"] == 0
    events = (await result("audit", "ann", folder))["events"]
    assert "disable" in [event["event"] for event in events]
    code, _, error = await accounts("list", f"--data-dir={tmp_path / 'missing'}")
    assert (code, "there is no data folder" in error) == (1, True)
    assert not (tmp_path / "missing").exists()
    code, _, error = await sessions("list", folder, "--store=memory")
    assert (code, "only that process knows its sessions" in error) == (1, True)


@pytest.mark.limit(60)
async def test_a_server_that_does_not_answer_is_told_from_none(
    server: Process, folder: str, tmp_path: Path
) -> None:
    """Its files are left alone, and the sentence says what to do."""
    (tmp_path / "control.sock").unlink()
    code, _, error = await sessions("list", folder)
    assert code == 1
    assert "another process uses this data folder" in error


@pytest.mark.asvs("6.4.6")
@pytest.mark.limit(60)
async def test_an_account_is_added_with_a_link(server: Process, folder: str) -> None:
    """Nobody but the user ever knows a password."""
    code, out, error = await add("add", "Dora", "--link", "--public-url-is-no-flag", folder)
    assert (code, out) == (2, "")
    code, out, error = await add("add", "Dora", "--link", folder)
    assert (code, error) == (0, "")
    assert "Dora is made." in out
    assert "/reset?token=" in out
    assert "Put the address of the site in front of it" in out
    (row,) = (await result("list", folder))["accounts"]
    assert row["has_password"] is False


async def started(*arguments: str, program: str, **options: Any) -> asyncio.subprocess.Process:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", program, *arguments),
        cwd=ROOT,
        env=clean,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        **options,
    )


@pytest.mark.limit(60)
async def test_a_reader_that_leaves_early_is_no_error(server: Process, folder: str) -> None:
    """As `| head` does: nothing on standard error, exit code 0."""
    ours, theirs = os.pipe()
    os.close(ours)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.accounts", "list", folder),
        cwd=ROOT,
        stdout=theirs,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(theirs)
    _, error = await asyncio.wait_for(child.communicate(), 30)
    assert (child.returncode, error) == (0, b"")


@pytest.mark.limit(60)
async def test_an_interrupt_ends_with_a_sentence(tmp_path: Path, folder: str) -> None:
    """130, and no traceback: here while a process that is suspended does not answer."""
    async with process(tmp_path) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            child = await started("list", folder, program="app.accounts", preexec_fn=_can_interrupt)
            await asyncio.sleep(0)
            assert child.stderr is not None
            connected = tmp_path / "control.sock"
            assert connected.exists()
            await until(lambda: _is_connected(child.pid), 25)
            child.send_signal(signal.SIGINT)
            _, error = await asyncio.wait_for(child.communicate(), 20)
            assert child.returncode == 130
            assert b"interrupted" in error
            assert b"Traceback" not in error
        finally:
            server.process.send_signal(signal.SIGCONT)


def _can_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_connected(pid: int) -> bool:
    """Whether the command waits for an answer: it has a Unix socket open.

    A socket of another kind says nothing: urllib3 opens one while it is imported.
    """
    links: list[str] = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            links.append(str(each.readlink()))
    unix = {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}
    return any(link.removeprefix("socket:[").removesuffix("]") in unix for link in links)


@pytest.mark.limit(60)
async def test_another_user_is_refused(
    server: Process, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is for the user of the program and for root; the sentence says so."""

    def refuse(*_: object, **options: object) -> None:
        raise PermissionError

    monkeypatch.setattr("app.common.unix_socket.connect", refuse)
    with pytest.raises(CommandFailed, match="run the command as the program's user"):
        control_client.call(Path(folder.partition("=")[2]), "accounts.list", {}, timeout=5)


@pytest.mark.parametrize("program", ["app.accounts", "app.sessions"])
def test_a_data_folder_below_a_closed_one_is_refused(
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With one sentence and exit code 1; the tests may run as root, which may open every folder."""
    data = tmp_path / "data"
    stat = Path.stat

    def refuse(path: Path, **options: Any) -> os.stat_result:
        if path == data:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    main = importlib.import_module(f"{program}.__main__").main
    assert main(["list", f"--data-dir={data}"]) == 1
    sentence = f"{data} is closed to this user; run the command as the program's user"
    assert capsys.readouterr().err == f"latchkey: {sentence}\n"
