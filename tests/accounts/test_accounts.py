"""Accounts: names, passwords, hashes, worker threads, and the command that adds an account."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import argon2
import pytest

from app.accounts import (
    Accounts,
    AccountsUnavailable,
    InvalidAccount,
    NameTaken,
    account_key,
    database,
)
from app.accounts import accounts as module
from app.accounts.passwords import Passwords
from app.settings import Settings
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.postgres import Place
from tests.support.process import process
from tests.support.visitor import Visitor


@contextlib.asynccontextmanager
async def opened(place: Place) -> AsyncIterator[Accounts]:
    """Open the accounts of this place and close them in the end."""
    accounts = Accounts(place.settings)
    try:
        yield accounts
    finally:
        await accounts.close()


# -- names and passwords --


@pytest.mark.parametrize("spelling", ["Zoë", "ZOË", "zoe\u0308", "Ｚｏë", " zoë "])
async def test_one_account_answers_to_every_spelling_of_its_name(
    place: Place, spelling: str
) -> None:
    """Case, width, composition and outer spaces do not matter, and the first spelling is shown."""
    async with opened(place) as accounts:
        assert await accounts.register("Zoë", PASSWORD) == "Zoë"
        assert await accounts.verify(spelling, PASSWORD) == "Zoë"


@pytest.mark.parametrize("spelling", ["STRASSE", "straße", "Straße"])
async def test_another_spelling_of_a_taken_name_is_taken(place: Place, spelling: str) -> None:
    """The key of a name folds case as Unicode does, so ß and SS are one."""
    async with opened(place) as accounts:
        await accounts.register("Strasse", PASSWORD)
        with pytest.raises(NameTaken, match="taken"):
            await accounts.register(spelling, PASSWORD)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "1 to 64"),
        ("x" * 65, "1 to 64"),
        ("x" * 1_000_000, "1 to 64"),
        ("\ufdfa" * 10, "1 to 64"),
        ("a\ud800", "1 to 64"),
        (" ann", "space"),
        ("ann\u00a0", "space"),
        ("   ", "space"),
        ("an\x00n", "control"),
        ("an\nn", "control"),
        ("ann\u202e", "invisible"),
        ("an\u200bn", "invisible"),
    ],
)
async def test_a_name_that_cannot_be_had_is_refused_with_a_sentence(
    place: Place, name: str, said: str
) -> None:
    """Too long, too short, controls, invisible letters, outer spaces: each says what is wrong."""
    async with opened(place) as accounts:
        with pytest.raises(InvalidAccount, match=said):
            await accounts.register(name, PASSWORD)
        assert await accounts.verify(name, PASSWORD) is None
    assert place.stored() == []


@pytest.mark.parametrize("name", ["a", "x" * 64, "Ann Lee", "安", "o'hara; --", "<b>", "🔑"])
async def test_a_name_may_be_in_any_script(place: Place, name: str) -> None:
    """Up to 64 characters of anything that can be seen, one of which may be all."""
    async with opened(place) as accounts:
        assert await accounts.register(name, PASSWORD) == name
        assert await accounts.verify(name, PASSWORD) == name


@pytest.mark.asvs("6.2.1", "6.2.9")
@pytest.mark.parametrize("password", ["", "7 chars", "x" * 129, "x" * 1_000_000, "12345678\ud800"])
async def test_a_password_of_the_wrong_length_is_refused(place: Place, password: str) -> None:
    """Fewer than 8 characters, more than 128, and what is no text at all."""
    async with opened(place) as accounts:
        with pytest.raises(InvalidAccount, match="8 to 128"):
            await accounts.register("ann", password)
        await accounts.register("ann", PASSWORD)
        assert await accounts.verify("ann", password) is None


@pytest.mark.asvs("6.2.5", "6.2.8")
@pytest.mark.parametrize(
    "password", ["        ", "aaaaaaaa", "x" * 128, "пароль🔑!", " a\x01b\tc d "]
)
async def test_a_password_may_be_of_any_characters(place: Place, password: str) -> None:
    """From 8 characters to 128, no composition rules, nothing trimmed or cut."""
    async with opened(place) as accounts:
        await accounts.register("ann", password)
        assert await accounts.verify("ann", password) == "ann"
        assert await accounts.verify("ann", password[:-1] + "?") is None
        assert await accounts.verify("ann", password + " ") is None


@pytest.mark.asvs("6.2.8")
async def test_a_password_is_the_same_however_the_keyboard_composes_it(place: Place) -> None:
    """NFKC, as NIST SP 800-63B asks: é in one code point and in two."""
    async with opened(place) as accounts:
        await accounts.register("ann", "caf\u00e9 au lait")
        assert await accounts.verify("ann", "cafe\u0301 au lait") == "ann"


async def test_a_long_name_or_password_costs_nothing(place: Place) -> None:
    """Unicode's normalising takes the square of such a length: 7 s of the interpreter's lock."""
    marks = "a" + "\u0301\u0316" * 20_000
    async with opened(place) as accounts:
        began = time.monotonic()
        for name, password in ((marks, PASSWORD), ("ann", marks)):
            with pytest.raises(InvalidAccount):
                await accounts.register(name, password)
            assert await accounts.verify(name, password) is None
        assert account_key(marks) == ""
        assert time.monotonic() - began < 3


def test_an_invalid_name_has_no_key() -> None:
    """Limits count by this key, so that it must not grow with what a client sends."""
    assert account_key("x" * 1_000_000) == ""
    assert account_key("\ud800") == ""
    assert account_key(" Ann  Lee") == "ann lee"


# -- hashes --


@pytest.mark.real_hashes
async def test_a_password_is_stored_as_argon2id_of_owasps_strength(place: Place) -> None:
    """At least 19 MiB, two passes, a salt of its own; a file is for its owner only."""
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        await accounts.register("bob", PASSWORD)
        files = list(place.data_dir.iterdir())
        modes = {stat.S_IMODE(path.stat().st_mode) for path in files}
    hashes = [row[2] for row in place.stored()]
    for one in hashes:
        parameters = argon2.extract_parameters(one)
        assert parameters.type is argon2.Type.ID
        assert parameters.memory_cost >= 19 * 1024
        assert parameters.time_cost >= 2
        assert parameters.salt_len >= 16
    assert len(set(hashes)) == 2
    if place.database == "sqlite":
        assert "accounts.sqlite3" in [path.name for path in files]
        assert modes == {0o600}
    else:
        assert files == []


@pytest.mark.asvs("6.3.8")
async def test_an_unknown_name_costs_what_a_wrong_password_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hash of the same parameters each, whatever the name and the password look like."""
    asked: list[Any] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: Any, stored: Any, password: Any) -> Any:
        asked.append(argon2.extract_parameters(stored))
        return verify(self, stored, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        for name, password in (
            ("ann", "wrong wrong wrong"),
            ("nobody", PASSWORD),
            ("nobody", "wrong wrong wrong"),
            ("ann", "short"),
            ("nobody", "short"),
            ("ann", "x" * 500),
            ("", ""),
            ("x" * 100_000, PASSWORD),
            ("\ud800", "\ud800"),
        ):
            asked.clear()
            assert await accounts.verify(name, password) is None
            assert len(asked) == 1, (name[:20], password[:20])
            assert asked[0] == argon2.extract_parameters(place.stored()[0][2])


@pytest.mark.real_hashes
async def test_a_sign_in_renews_a_hash_of_weaker_parameters(place: Place) -> None:
    """The right password brings the hash up to date; a wrong one leaves it as it was."""
    async with opened(place) as accounts:
        today = accounts._table._passwords._hasher
        accounts._table._passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=64)
        await accounts.register("ann", PASSWORD)
        accounts._table._passwords._hasher = today
        weak = place.stored()[0][2]
        assert await accounts.verify("ann", "wrong wrong wrong") is None
        assert place.stored()[0][2] == weak
        assert await accounts.verify("ann", PASSWORD) == "ann"
        renewed = place.stored()[0][2]
        assert argon2.extract_parameters(renewed).memory_cost == today.memory_cost
        assert await accounts.verify("ann", PASSWORD) == "ann"
        assert place.stored()[0][2] == renewed


@pytest.mark.parametrize("password", [PASSWORD, "wrong wrong wrong"])
async def test_an_invalid_hash_refuses_every_password(place: Place, password: str) -> None:
    """A hash that is none of argon2's is a wrong password and a line in the log."""
    async with opened(place) as accounts:
        await accounts.register("ann", PASSWORD)
        place.run("UPDATE accounts SET password_hash = 'x'")
        assert await accounts.verify("ann", password) is None


# -- threads and the database --


async def test_two_registrations_of_one_name_at_once_make_one_account(place: Place) -> None:
    """The database decides, also between two processes, and each loser is told that it is taken."""
    async with opened(place) as here, opened(place) as there:
        answers = await asyncio.gather(
            *(accounts.register("Ann", PASSWORD) for accounts in (here, there) * 5),
            return_exceptions=True,
        )
    assert answers.count("Ann") == 1
    assert sum(isinstance(answer, NameTaken) for answer in answers) == 9
    assert len(place.stored()) == 1


async def test_hashes_are_computed_in_a_few_threads(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of sign-ins runs in the pool's threads, never more of them than it has."""
    threads: set[int] = set()
    verify = Passwords.verify

    def noted(self: Any, *args: Any) -> bool:
        threads.add(threading.get_ident())
        return verify(self, *args)

    monkeypatch.setattr(Passwords, "verify", noted)
    async with opened(place) as accounts:
        await asyncio.gather(*(accounts.verify("nobody", PASSWORD) for _ in range(12)))
    assert threading.get_ident() not in threads
    assert 1 <= len(threads) <= module._WORKERS


async def test_sign_ins_beyond_the_queue_are_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the line is full the next one hears so at once, and those in it are served."""
    gate = threading.Event()
    monkeypatch.setattr(Passwords, "verify", lambda *_: gate.wait(20) and False)
    async with opened(place) as accounts:
        most = module._MAX_QUEUE + module._WORKERS
        waiting = [asyncio.ensure_future(accounts.verify("ann", PASSWORD)) for _ in range(most)]
        await asyncio.sleep(0)
        try:
            with pytest.raises(AccountsUnavailable, match="Try again"):
                await asyncio.wait_for(accounts.verify("ann", PASSWORD), 5)
        finally:
            gate.set()
        assert await asyncio.gather(*waiting) == [None] * most
        assert await accounts.verify("ann", PASSWORD) is None


async def test_limits_are_checked_again_when_a_thread_is_free(place: Place) -> None:
    """What one call counts is known to the calls that wait behind it."""
    failures = 0

    async def admit() -> None:
        if failures >= 3:
            raise PermissionError

    async def attempt() -> bool:
        nonlocal failures
        try:
            await accounts.verify("ann", PASSWORD, check_limits=admit)
        except PermissionError:
            return False
        failures += 1
        return True

    async with opened(place) as accounts:
        let_in = sum(await asyncio.gather(*(attempt() for _ in range(30))))
    assert 3 <= let_in <= 3 + module._WORKERS - 1


async def test_a_locked_database_file_is_reported_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that waits too long hears so, nothing is lost, and afterwards all is well."""
    monkeypatch.setattr(database, "_LOCK_TIMEOUT", 0.2)
    async with opened(Place(tmp_path, None)) as accounts:
        await accounts.register("ann", PASSWORD)
        with contextlib.closing(sqlite3.connect(tmp_path / "accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(AccountsUnavailable, match="try again"):
                await accounts.register("bob", PASSWORD)
            assert await accounts.verify("ann", PASSWORD) == "ann"
            assert await accounts.answers()
        assert await accounts.register("bob", PASSWORD) == "bob"


async def test_accounts_are_on_the_disk_when_they_are_acknowledged(place: Place) -> None:
    """Of both databases the write-ahead log is synced at every commit, and they outlive us."""
    async with opened(place) as accounts:
        with accounts._table._engine.connect() as connection:
            ask = connection.exec_driver_sql
            if place.database == "sqlite":
                assert ask("PRAGMA journal_mode").scalar() == "wal"
                assert ask("PRAGMA synchronous").scalar() == 2
            else:
                assert ask("SHOW synchronous_commit").scalar() == "on"
        await accounts.register("ann", PASSWORD)
    async with opened(place) as accounts:
        assert await accounts.verify("ann", PASSWORD) == "ann"


async def test_a_database_that_fails_does_not_answer(place: Place) -> None:
    """/readyz asks whether accounts can be read; a lost table is a no."""
    async with opened(place) as accounts:
        assert await accounts.answers()
        place.run("DROP TABLE accounts")
        assert not await accounts.answers()
        with pytest.raises(AccountsUnavailable):
            await accounts.verify("ann", PASSWORD)


def test_a_file_that_is_no_database_stops_the_start(tmp_path: Path) -> None:
    """The error names the file and says what to do."""
    (tmp_path / "accounts.sqlite3").write_bytes(b"not a database, and rather long for one" * 100)
    with pytest.raises(OSError, match=r"accounts\.sqlite3 could not be opened.*move it away"):
        Accounts(Settings(data_dir=tmp_path))


# -- the command --


async def add(
    *arguments: str, typed: str = PASSWORD + "\n", **environ: str
) -> tuple[int, str, str]:
    """Run `python -m app.accounts`; return its exit code and what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "app.accounts", *arguments),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await child.communicate(typed.encode())
    return child.returncode or 0, out.decode(), error.decode()


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
