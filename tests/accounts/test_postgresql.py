"""Accounts in PostgreSQL: the start, outages and time limits, and what is never shown.

That accounts behave as in SQLite is seen in test_accounts.py, which runs on both.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from app.accounts import calls, open_database
from app.settings import Settings
from tests.support.accounts import opened_at
from tests.support.forms import PASSWORD
from tests.support.postgres import Place, Postgres
from tests.support.process import process, run
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until

SIGN_IN = {"username": "ann", "password": PASSWORD}
pytestmark = pytest.mark.limit(60)


@pytest.fixture
def place(postgres: Postgres, tmp_path: Path) -> Place:
    """An empty database in PostgreSQL."""
    return Place(tmp_path, postgres)


@pytest.fixture
def outage(postgres: Postgres) -> Iterator[Postgres]:
    """The server, for a test that stops it; it runs again afterwards."""
    yield postgres
    postgres.stop()
    postgres.start()


async def sign_in(visitor: Visitor) -> int:
    """Try to sign in; return the status, which must come soon."""
    return (await asyncio.wait_for(visitor.post("/login", json=SIGN_IN), 6))[0]


# -- the start --


def test_processes_that_start_at_once_make_one_table(postgres: Postgres) -> None:
    """Each of them finds it or makes it, and none stumbles over another."""
    with ThreadPoolExecutor(8) as threads:
        for _ in range(4):
            settings = Settings(database=postgres.url(postgres.database()))
            for database in threads.map(open_database, [settings] * 8):
                database.engine.dispose()


async def test_two_processes_share_the_accounts(place: Place, tmp_path: Path) -> None:
    """Who registers at one signs in at the other."""
    flags = ("--store=memory", f"--database={place.database}")
    async with (
        process(tmp_path / "a", *flags) as first,
        process(tmp_path / "b", *flags) as second,
        Visitor(first.url) as here,
        Visitor(second.url) as there,
    ):
        await here.sign_up("ann")
        await there.sign_in("ann")
        assert (await there.post("/register", json=SIGN_IN))[0] == 422


async def test_a_database_that_is_down_stops_the_start(
    outage: Postgres, place: Place, tmp_path: Path
) -> None:
    """Exit code 1 and one sentence, which has the place and not the password."""
    outage.stop()
    code, out, error = await run("--port=0", f"--data-dir={tmp_path}", **environ(place.database))
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
    assert f"postgresql://127.0.0.1:{outage.port}/" in error
    assert "could not be opened" in error
    assert "hunter2" not in error


def environ(url: str) -> dict[str, str]:
    return {"LATCHKEY_DATABASE": url}


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("no_such_database", "does not exist"),
        ("postgres?nonsense=1", "parameters of --database"),
        ("postgres?sslmode=verify-full", "SSL"),
        ("postgres?user=nobody", "password authentication failed"),
    ],
)
def test_an_error_shows_a_url_without_its_password(
    postgres: Postgres, tmp_path: Path, end: str, said: str
) -> None:
    """libpq's own words are passed on only where they quote no parameter."""
    with pytest.raises(OSError, match=said) as caught:
        open_database(Settings(data_dir=tmp_path, database=postgres.url(end)))
    shown: BaseException | None = caught.value
    assert "\n" not in str(shown)
    while shown is not None:
        assert "hunter2" not in str(shown)
        shown = shown.__cause__


def test_a_missing_package_is_reported(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has the command that installs it."""
    monkeypatch.delitem(sys.modules, "app.database.postgresql", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(OSError, match=r"needs the package psycopg.*pip install.*postgresql"):
        open_database(Settings(data_dir=tmp_path, database=postgres.url("postgres")))


def test_a_database_that_cannot_keep_all_names_is_refused(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Its encoding has to be UTF8."""
    name = postgres.database("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(OSError, match="UTF8"):
        open_database(Settings(data_dir=tmp_path, database=postgres.url(name)))


async def test_a_database_user_without_the_right_to_create_tables_can_use_one(
    postgres: Postgres, place: Place, tmp_path: Path
) -> None:
    """Without the table the start says what is not allowed; with it all goes well."""
    user = place.database.rpartition("/")[2] + "_user"
    place.run(f"CREATE USER {user} PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = postgres.url(place.database.rpartition("/")[2], user, "secret")
    with pytest.raises(OSError, match="permission denied"):
        open_database(Settings(data_dir=tmp_path, database=url))
    await open_database(place.settings).close()
    place.run(f"GRANT SELECT, INSERT, UPDATE ON accounts TO {user}")
    async with opened_at(Settings(data_dir=tmp_path, database=url)) as accounts:
        assert await accounts.register("ann", PASSWORD) == "ann"


# -- outages --


async def test_an_outage_gets_503_until_the_database_is_back(
    outage: Postgres, place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Signed-in people notice nothing; the first sign-in afterwards already succeeds."""
    async with (
        serve(tmp_path, database=place.database) as site,
        Visitor(site.url) as ann,
        Visitor(site.url) as again,
    ):
        await ann.sign_up("ann")
        outage.stop()
        assert await sign_in(again) == 503
        status, text = await ann.get("/readyz")
        assert (status, '"database"' in text, '"store"' in text) == (503, True, False)
        assert await ann.incr() == 1
        outage.start()
        assert await sign_in(again) == 204
        assert (await ann.get("/readyz"))[0] == 200
    failures = [record for record in caplog.records if record.name == "latchkey.accounts"]
    assert failures
    for record in failures:
        assert record.levelno == logging.WARNING
        assert "\n" not in record.getMessage()
        assert "hunter2" not in record.getMessage()


async def test_a_restart_is_not_noticed(outage: Postgres, place: Place, tmp_path: Path) -> None:
    """The pool's connections are dead by then, and are replaced before they are used."""
    async with serve(tmp_path, database=place.database) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        outage.stop()
        outage.start()
        assert [await sign_in(ann) for _ in range(4)] == [204] * 4


async def test_a_server_that_hangs_holds_nobody_up(
    outage: Postgres, place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Everybody in line gets a 503, not one after the other, and all is well when it wakes up."""
    async with (
        serve(tmp_path, database=place.database, failed_logins_per_minute=0) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        outage.pause()
        try:
            assert set(
                await asyncio.gather(*(sign_in(ann) for _ in range(calls._MAX_PER_ADDRESS)))
            ) == {503}
            assert set(await asyncio.gather(*(sign_in(ann) for _ in range(10)))) == {503}
            assert "the database of accounts failed: connection timeout expired" in caplog.text
            assert "database" in (await ann.get("/readyz"))[1]
        finally:
            outage.resume()
        loop = asyncio.get_running_loop()
        end = loop.time() + 20
        while (status := await sign_in(ann)) != 204 and loop.time() < end:
            await asyncio.sleep(0.1)
        assert status == 204


async def test_a_server_that_hangs_does_not_hold_the_stop_up(
    outage: Postgres, place: Place, tmp_path: Path
) -> None:
    """The threads that wait for it give up by themselves."""
    flag = f"--database={place.database}"
    async with process(tmp_path, flag) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        outage.pause()
        try:
            assert await sign_in(ann) == 503
            assert await site.stop() == 0
        finally:
            outage.resume()


async def test_a_wait_for_a_lock_has_a_timeout(place: Place, tmp_path: Path) -> None:
    """A 503 while another program alters the table; the refused call stores nothing."""
    async with serve(tmp_path, database=place.database) as site, Visitor(site.url) as ann:
        with psycopg.connect(place.database) as other:
            other.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
            answer = ann.post("/register", json=SIGN_IN)
            assert (await asyncio.wait_for(answer, 6))[0] == 503
            # the server has cancelled the statement as well
            waiting = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            assert place.run(waiting) == []
        assert place.stored() == []
        await ann.sign_up("ann")


async def test_connections_are_few_and_given_back(place: Place, tmp_path: Path) -> None:
    """A burst of sign-ins shares the pool, and none is left when the process has stopped."""

    def open_now() -> int:
        return int(
            place.run(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE application_name = 'latchkey' AND datname = current_database()"
            )[0][0]
        )

    async with contextlib.AsyncExitStack() as stack:
        site = await stack.enter_async_context(serve(tmp_path, database=place.database))
        ann = await stack.enter_async_context(Visitor(site.url))
        await ann.sign_up("ann")
        assert set(await asyncio.gather(*(sign_in(ann) for _ in range(20)))) == {204}
        assert 1 <= open_now() <= calls._WORKERS + calls._READERS + 1
    await until(lambda: open_now() == 0)
