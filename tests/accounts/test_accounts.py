"""Accounts: worker threads, their queue, and the database."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from app.accounts import AccountsUnavailable, NameTaken, open_database
from app.accounts import calls as module
from app.accounts.passwords import Passwords
from app.database import sqlite
from app.settings import Settings
from tests.support.accounts import opened
from tests.support.forms import PASSWORD
from tests.support.postgres import Place


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
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT", 0.2)
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
        open_database(Settings(data_dir=tmp_path))
