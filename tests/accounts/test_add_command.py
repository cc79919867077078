"""The command `python -m app.accounts add`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import sys
from pathlib import Path

import pytest

from tests.support.accounts import add, opened
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.postgres import Place
from tests.support.process import process
from tests.support.visitor import Visitor


@pytest.mark.limit(60)
async def test_the_command_adds_an_account_while_the_server_runs(place: Place) -> None:
    """Registration may be closed; the new user signs in at once."""
    _, database = place.flags
    async with (
        process(place.data_dir, "--registration=closed", database) as server,
        Visitor(server.url) as ann,
    ):
        code, out, error = await add("add", "Ann", "--password-stdin", *place.flags)
        assert (code, error) == (0, "")
        assert "Ann can sign in now" in out
        assert "hunter2" not in out
        await ann.sign_in("ann")
        assert await server.stop() == 0


@pytest.mark.asvs("6.3.2")
@pytest.mark.limit(60)
async def test_the_command_works_before_the_first_start(place: Place) -> None:
    """It makes the data folder for its owner alone, where the environment says."""
    place = place.moved(place.data_dir / "new" / "data")
    environ = {
        "LATCHKEY_DATA_DIR": str(place.data_dir),
        "LATCHKEY_DATABASE": place.database,
    }
    code, _, error = await add("add", "ann", "--password-stdin", **environ, typed=PASSWORD)
    assert (code, error) == (0, "")
    assert stat.S_IMODE(place.data_dir.stat().st_mode) == 0o700
    async with opened(place) as accounts:
        assert await accounts.verify("ann", PASSWORD) == "ann"


@pytest.mark.limit(60)
async def test_the_command_says_why_an_account_cannot_be_made(place: Place) -> None:
    """Exit code 1 and one sentence for a taken name, a bad one, and a short password."""
    flags = ("--password-stdin", *place.flags)
    assert (await add("add", "ann", *flags))[0] == 0
    for name, typed, said in (
        ("ANN", PASSWORD, "taken"),
        (" bob", PASSWORD, "space"),
        ("bob", "short\n", "8 to 128"),
        ("bob", "", "8 to 128"),
    ):
        code, out, error = await add("add", name, *flags, typed=typed)
        assert (code, out) == (1, ""), name
        assert error.startswith("latchkey: ")
        assert said in error
        assert error.count("\n") == 1
    assert [row[1] for row in place.stored()] == ["ann"]


async def at_a_terminal(data_dir: Path, *typed: str) -> tuple[int, str]:
    """Type these lines at the prompts of the command; return its exit code and what it said."""
    ours, theirs = os.openpty()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "app.accounts", "add", "ann", f"--data-dir={data_dir}"),
        cwd=ROOT,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        for line in typed:
            # the prompt throws away what was typed before it
            await child.stderr.readuntil(b": ")
            os.write(ours, line.encode())
        said = await child.stdout.read() + await child.stderr.read()
        code = await child.wait()
        with contextlib.suppress(OSError):  # the other end of the terminal is closed
            said += os.read(ours, 10_000)  # what the terminal showed
        return code, said.decode()
    finally:
        os.close(ours)


@pytest.mark.limit(60)
@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ((PASSWORD + "\n", PASSWORD + "\n"), 0, "ann can sign in now"),
        ((PASSWORD + "\n", "another password\n"), 1, "differ"),
        ((PASSWORD + "\n", "\x04"), 1, "nothing was stored"),
    ],
    ids=["twice the same", "two passwords", "the end of the input"],
)
async def test_the_command_asks_for_the_password_twice(
    tmp_path: Path, typed: tuple[str, ...], code: int, said: str
) -> None:
    """At a terminal it prompts, shows nothing of it, and stores only what was typed twice."""
    result, text = await at_a_terminal(tmp_path, *typed)
    assert (result, said in text, PASSWORD in text) == (code, True, False), text


@pytest.mark.limit(60)
async def test_a_wrong_call_of_the_command_exits_2(tmp_path: Path) -> None:
    """A wrong setting, no name, no terminal: each says what to write instead."""
    for arguments, environ, said in (
        (("add", "ann", "--password-stdin", "--database=oracle"), {}, "--database"),
        (("add", "ann", "--password-stdin"), {"LATCHKEY_PORT": "x"}, "LATCHKEY_PORT"),
        (("add", "ann"), {}, "--password-stdin"),
        (("add",), {}, "see python -m app.accounts add --help"),
        (("add", "ann", "--data-dir"), {}, "--data-dir: expected one argument"),
        (("add", "ann", "hunter2"), {}, "see python -m app.accounts add --help"),
        (("add", "ann", "--pass=hunter2"), {}, "see python -m app.accounts add --help"),
        (("remove", "ann"), {}, "see python -m app.accounts --help"),
        ((), {}, "add"),
    ):
        code, _, error = await add(*arguments, **{"LATCHKEY_DATA_DIR": str(tmp_path), **environ})
        assert code == 2, arguments
        assert error.startswith("latchkey: ")
        assert said in error
        assert "hunter2" not in error
        assert error.count("\n") == 1
