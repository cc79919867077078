"""A change of the release: its steps, its failures, its interruptions."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.release.options import Options
from app.release.processes import Processes
from tests.release.fake_site import FakeSite
from tests.support.waiting import until

pytestmark = pytest.mark.limit(120)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[FakeSite]:
    """A site of which no release is installed."""
    made = FakeSite(tmp_path)
    made.change(settle=0, ready_timeout=15)
    yield made
    made.stop()


@pytest.fixture
async def running(site: FakeSite) -> FakeSite:
    """A site that runs v1."""
    code, text = await site.run("upgrade")
    assert code == 0, text
    return site


async def test_an_upgrade_and_the_way_back(running: FakeSite) -> None:
    """Process by process, with the tables of each release."""
    first = running.current()
    running.release("v2", revision=2)
    code, text = await running.run("upgrade", "v2")
    assert code == 0, text
    assert "notes 1 to 2" in text
    assert running.started() == ["0 v1", "1 v1", "0 v2", "1 v2"]
    assert running.database.read_text() == "2"
    second = running.current()
    code, text = await running.run("rollback")
    assert code == 1
    assert "does not know the newest migration of notes" in text
    assert running.current() == second
    code, text = await running.run("rollback", "--downgrade")
    assert code == 0, text
    assert (running.current(), running.database.read_text()) == (first, "1")
    assert running.started()[4:] == ["0 v1", "1 v1"]
    code, text = await running.run("list")
    assert text.split() == ["previous", second, "v2", "current", first, "HEAD"]


FAILURES = {
    "a syntax error": ({"app/broken.py": "def broken(:\n"}, "SyntaxError", []),
    "a failed check": ({"refused": ""}, "the settings are wrong", []),
    "the first process": ({"unready": "0"}, "process 0 was not ready", ["0 v2", "0 v1"]),
    "the second process": (
        {"unready": "1"},
        "process 1 was not ready",
        ["0 v2", "1 v2", "0 v1", "1 v1"],
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_bad_release_changes_nothing(running: FakeSite, failure: str) -> None:
    """At the first failure what was done is taken back, the migration too."""
    files, reason, started = FAILURES[failure]
    first, before = running.current(), running.started()
    running.release("v2", files, revision=2)
    code, text = await running.run("upgrade", "--ready-timeout=8")
    assert code == 1, text
    assert reason in text
    assert running.started() == [*before, *started]
    assert (running.current(), running.database.read_text()) == (first, "1")
    running.release("v3", revision=2)
    code, text = await running.run("upgrade")
    assert code == 0, text


@pytest.mark.parametrize("command", ["rollback", "resume"])
async def test_a_command_that_was_killed_can_go_on_and_back(
    running: FakeSite, command: str
) -> None:
    """The next command says so; no other upgrade begins meanwhile."""
    first = running.current()
    running.release("v2", {"unready": "1"}, revision=2)
    killed = await running.start("upgrade")
    await until(lambda: "1 v2" in running.started())
    code, text = await running.run("upgrade")
    assert code == 1
    assert "another upgrade or rollback runs here" in text
    killed.kill()
    await killed.communicate()
    code, text = await running.run("upgrade")
    assert code == 1
    assert "was interrupted; run resume to go on with it, or rollback" in text
    (running.root / "current" / "unready").unlink()
    second = running.current()
    code, text = await running.run(command)
    assert code == 0, text
    if command == "resume":
        assert (running.current(), running.database.read_text()) == (second, "2")
        assert running.started()[2:] == ["0 v2", "1 v2", "1 v2"]
    else:
        assert (running.current(), running.database.read_text()) == (first, "1")
        assert running.started()[2:] == ["0 v2", "1 v2", "0 v1", "1 v1"]
    assert (await running.run(command))[0] in (0, 2)  # nothing is halfway


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_interrupted_upgrade_is_taken_back(
    running: FakeSite, number: signal.Signals
) -> None:
    """A lost terminal does not interrupt it."""
    first = running.current()
    running.release("v2", {"unready": "0"}, revision=2)
    command = await running.start("upgrade")
    await until(lambda: "0 v2" in running.started())
    command.send_signal(signal.SIGHUP)
    command.send_signal(number)
    out, _ = await command.communicate()
    assert command.returncode == 1, out
    assert b"interrupted" in out
    assert (running.current(), running.database.read_text()) == (first, "1")
    assert running.started()[-1] == "0 v1"


async def test_a_way_back_that_fails_asks_for_the_operator(running: FakeSite) -> None:
    """Exit code 3; `rollback` tries again."""
    first = running.current()
    running.release("v2", {"unready": "0"})
    broken = running.root / "restart"
    works = broken.read_text()
    command = await running.start("upgrade", "--ready-timeout=3")
    await until(lambda: "0 v2" in running.started())
    broken.write_text("#!/bin/sh\nexit 1\n")
    out, _ = await command.communicate()
    assert command.returncode == 3, out
    assert b"run resume to go on, or rollback to go back" in out
    broken.write_text(works)
    code, text = await running.run("rollback")
    assert code == 0, text
    assert (running.current(), running.started()[-1]) == (first, "0 v1")


async def test_resume_restarts_what_a_way_back_has_restarted(running: FakeSite) -> None:
    """Process 0 went to v2 and back, and the way back stopped at process 1."""
    running.release("v2", {"unready": "1"})
    only_zero = f"#!/bin/sh\n[ $1 = 0 ] || exit 1\nexec {running.root}/works $1\n"
    works = running.root / "restart"
    works.rename(running.root / "works")
    works.write_text('#!/bin/sh\nexec "$(dirname $0)"/works $1\n')
    works.chmod(0o755)
    command = await running.start("upgrade", "--ready-timeout=8")
    await until(lambda: "1 v2" in running.started())
    works.write_text(only_zero)
    out, _ = await command.communicate()
    assert command.returncode == 3, out
    assert running.started()[2:] == ["0 v2", "1 v2", "0 v1"]
    works.write_text('#!/bin/sh\nexec "$(dirname $0)"/works $1\n')
    (release,) = running.root.glob("releases/*/unready")
    release.unlink()
    code, text = await running.run("resume")
    assert code == 0, text
    assert running.started()[5:] == ["0 v2", "1 v2"]


async def test_a_dry_run_and_no_restart_leave_the_processes_alone(running: FakeSite) -> None:
    """The first builds and checks only; the second changes what later starts run."""
    first, started = running.current(), running.started()
    running.release("v2")
    assert (await running.run("upgrade", "--dry-run"))[0] == 0
    assert running.current() == first
    assert (await running.run("upgrade", "--no-restart"))[0] == 0
    assert running.current() != first
    assert running.started() == started


async def test_old_releases_are_removed(running: FakeSite) -> None:
    """Those that serve, and served before, stay however old they are."""
    first = running.current()
    for _ in range(2):
        assert (await running.run("upgrade", "--no-restart"))[0] == 0
    assert (await running.run("rollback", first, "--no-restart"))[0] == 0
    assert (await running.run("upgrade", "--keep=1", "--no-restart"))[0] == 0
    _, text = await running.run("list")
    listed = [line.split()[:2] for line in text.splitlines()]
    assert listed == [["current", running.current()], ["previous", first]]


async def test_a_folder_without_git_is_copied(site: FakeSite, tmp_path: Path) -> None:
    """Everybody may read it, whatever the umask of the operator."""
    folder = tmp_path / "folder"
    site.source.rename(folder)
    (folder / ".git").rename(tmp_path / "git")
    (folder / "name").chmod(0o600)
    code, text = await site.run("upgrade", f"--source={folder}")
    assert code == 0, text
    release = site.root / "current"
    assert site.current().endswith("-folder")
    assert (release.stat().st_mode & 0o055, (release / "name").stat().st_mode & 0o044) == (
        0o055,
        0o044,
    )
    code, text = await site.run("upgrade", "v1", f"--source={folder}")
    assert code == 2
    assert "is no git repository" in text


async def test_wrong_calls_change_nothing(site: FakeSite, tmp_path: Path) -> None:
    """Each has a sentence."""
    for words, sentence in (
        (("upgrade", "v9"), "has no commit v9; fetch it there first"),
        (("upgrade", f"--source={tmp_path}/nowhere"), "clone your repository there"),
        (("upgrade", "--processes=a"), "write numbers such as 0,1"),
        (("upgrade", "--keep=few"), "keep: 'few' is no number"),
        (("rollback",), "there is no release before"),
        (("rollback", "v9"), "name one release of: none"),
        (("resume",), "no upgrade was interrupted"),
    ):
        code, text = await site.run(*words)
        assert (code, sentence in text) == (2, True), text
    site.change(typo=1)
    code, text = await site.run("list")
    assert code == 2
    assert "typo is no option" in text
    assert site.started() == []


async def test_a_rollback_that_fails_migrates_again(running: FakeSite) -> None:
    """The newer release serves on, with its tables."""
    running.release("v2", revision=2)
    assert (await running.run("upgrade"))[0] == 0
    second = running.current()
    (running.root / "previous" / "refused").touch()
    code, text = await running.run("rollback", "--downgrade")
    assert code == 1, text
    assert "the settings are wrong" in text
    assert (running.current(), running.database.read_text()) == (second, "2")
    assert running.started()[-1] == "1 v2"


async def test_processes_are_those_of_systemd(
    site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without settings the units are asked for, and restarted."""
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(SYSTEMCTL.format(restart=site.root / "restart"))
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{systemctl.parent}:{os.environ['PATH']}")
    lines = (site.root / "release.toml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("processes", "restart"))]
    (site.root / "release.toml").write_text("\n".join(kept))
    code, text = await site.run("upgrade")
    assert code == 0, text
    assert site.started() == ["0 v1", "1 v1"]


SYSTEMCTL = """#!/bin/sh
case $1 in
list-units) printf '%s\\n' 'latchkey@0.service loaded active' 'latchkey@1.service loaded failed';;
restart) exec {restart} "${{2#latchkey@}}";;
esac
"""


async def test_a_process_on_a_unix_socket_is_asked(tmp_path: Path) -> None:
    """By its path, in place of a port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        status = b"200 OK" if line.startswith(b"GET /readyz ") else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(answer, tmp_path / "3.sock")
    async with server:
        processes = Processes(Options(ready=f"unix:{tmp_path}/{{number}}.sock"))
        assert await asyncio.to_thread(processes.answer, "3") == ""
        assert "No such file" in await asyncio.to_thread(processes.answer, "4")
