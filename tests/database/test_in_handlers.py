"""A fork's pages and events on the database: errors, and others meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.accounts import AccountInUse, accounts_table, open_database
from app.backup.backup import backup
from app.database import Schema, SchemaError
from app.database.module_schemas import module_schemas
from app.extensions import load_extensions, schemas
from app.settings import Settings
from app.stores import StoreUnavailable
from app.testing import SocketRefused
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.forms import PASSWORD
from tests.support.postgres import Place
from tests.support.site import serve
from tests.support.visitor import Visitor

metadata = sa.MetaData()
notes = sa.Table("notes", metadata, sa.Column("text", sa.Text, primary_key=True))


def add(connection: sa.Connection) -> int:
    connection.execute(sa.insert(notes), {"text": "hello"})
    return connection.execute(sa.select(sa.func.count()).select_from(notes)).scalar_one()


class NotesHandler(BaseHandler):
    async def post(self) -> None:
        self.write({"notes": await self.services.database.run(add)})


class NotesNamespace(BaseNamespace):
    async def on_add(self, sid: str) -> int:
        return await self.services.database.run(add)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """The modules of handlers/, with one that has a table, a page and a namespace."""
    return fork(
        monkeypatch,
        metadata=metadata,
        routes=[("/notes", NotesHandler)],
        namespaces=[("/notes", NotesNamespace)],
    )


async def test_a_page_and_an_event_store_in_a_table_of_their_module(
    place: Place, tmp_path: Path, modules: tuple[str, ...]
) -> None:
    place.moved(tmp_path / "data")
    async with (
        serve(tmp_path, modules=modules, database=place.database) as site,
        Visitor(site.url) as ann,
    ):
        assert await ann.post("/notes") == (200, '{"notes": 1}')
        socket = await ann.socket(namespaces=("/notes",))
        place.run("DELETE FROM notes")
        assert await socket.call("add") == 1
    assert place.run("SELECT text FROM notes") == [("hello",)]


async def test_an_outage_gets_503_and_an_error_ack(
    tmp_path: Path,
    modules: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both say what to do, the log has no traceback, and afterwards all is well."""
    monkeypatch.setattr("app.database.sqlite._LOCK_TIMEOUT", 0.1)
    sentence = "The database does not answer; try again in a moment."
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        socket = await ann.socket(namespaces=("/notes",))
        file = tmp_path / "data" / "accounts.sqlite3"
        with contextlib.closing(sqlite3.connect(file)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await ann.post("/notes", json={})
            assert (answer.status, answer.error) == (503, sentence)
            assert answer.headers["Retry-After"] == "2"
            assert await socket.call("add") == {"error": sentence}
        assert not any(record.exc_info for record in caplog.records)
        failed = site.services.counters.event_errors
        assert {kind: count for kind, count in failed.items() if count} == {"database": 1}
        assert await socket.call("add") == 1


class GreetingNamespace(BaseNamespace):
    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        if auth == {"store": "down"}:
            raise StoreUnavailable("cut off by a test")
        await self.services.database.run(add)


async def test_a_connect_handler_that_meets_an_outage_refuses_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has a line and no traceback, and afterwards clients may connect."""
    monkeypatch.setattr("app.database.sqlite._LOCK_TIMEOUT", 0.1)
    modules = fork(monkeypatch, metadata=metadata, namespaces=[("/hi", GreetingNamespace)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        with contextlib.closing(sqlite3.connect(tmp_path / "data" / "accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(SocketRefused, match=r"^The database does not answer; try again"):
                await ann.socket("/hi")
        with pytest.raises(SocketRefused, match=r"^the session store does not answer; try again"):
            await ann.socket("/hi", auth={"store": "down"})
        assert not any(record.exc_info for record in caplog.records)
        assert "/hi: CONNECT: The database does not answer" in caplog.text
        assert "/hi: CONNECT: cut off by a test" in caplog.text
        await ann.socket("/hi")


async def test_an_account_with_rows_that_keep_it_is_not_deleted(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A sentence for the user, the table's name for the operator; account and sessions stay."""
    place.moved(tmp_path / "data")
    keeping = sa.MetaData()
    refer = sa.ForeignKey(accounts_table.c.id)
    sa.Table("bills", keeping, sa.Column("account", refer, primary_key=True))
    modules = (*fork(monkeypatch, metadata=keeping), "handlers.account")
    async with (
        serve(tmp_path, modules=modules, database=place.database) as site,
        Visitor(site.url) as ann,
    ):
        await ann.sign_up("ann")
        place.run("INSERT INTO bills SELECT id FROM accounts")
        answer = await ann.post("/account/delete", json={"password": PASSWORD})
        assert (answer.status, answer.error.partition(",")[0]) == (
            409,
            "This account cannot be deleted",
        )
        assert "tables=bills" in caplog.text
        accounts = site.services.accounts
        account = await accounts.by_name("ann")
        assert account is not None
        with pytest.raises(AccountInUse):
            await accounts.remove(account)
        assert (await ann.get("/account")).status == 200
        place.run("DELETE FROM bills")
        assert (await ann.post("/account/delete", json={"password": PASSWORD})).status == 204
        assert await accounts.by_name("ann") is None


async def test_a_file_that_was_replaced_stores_nothing(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """A job whose data would be lost is an outage."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        file = tmp_path / "data" / "accounts.sqlite3"
        assert await ann.post("/notes") == (200, '{"notes": 1}')
        file.unlink()
        assert (await ann.post("/notes")).status == 503
        assert not file.exists()


async def test_slow_jobs_delay_neither_sign_ins_nor_the_event_loop(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    """Jobs have threads and connections of their own."""
    gate = threading.Event()
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        slow = [
            asyncio.ensure_future(site.services.database.read(lambda _: gate.wait(20), seconds=20))
            for _ in range(50)
        ]
        try:
            await ann.sign_in("ann")
            await ann.sign_up("bob")
            assert (await ann.get("/readyz")).status == 200
            assert not any(job.done() for job in slow)
        finally:
            gate.set()
        assert await asyncio.gather(*slow) == [True] * 50


async def test_a_backup_has_the_tables_of_modules(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """They are in the file of the accounts."""
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as ann:
        await ann.post("/notes")
        backup(site.services.settings, tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy" / "accounts.sqlite3")) as copy:
        assert copy.execute("SELECT * FROM notes").fetchall() == [("hello",)]


def test_metadata_that_is_none_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extension = load_extensions(fork(monkeypatch, metadata={"notes": notes}))
    with pytest.raises(ValueError, match=r"metadata must be a sqlalchemy\.MetaData"):
        schemas(extension)


def test_metadata_that_several_modules_import_has_one_owner(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The module that has migrations, or else the first one."""
    assert [
        each.name for each in module_schemas([("a", metadata, None), ("b", metadata, None)])
    ] == ["a"]
    (only,) = module_schemas([("a", metadata, None), ("b", metadata, tmp_path)])
    assert (only.name, only.migrations) == ("b", tmp_path)
    with pytest.raises(ValueError, match="a and b have migrations of the same metadata"):
        module_schemas([("a", metadata, tmp_path), ("b", metadata, tmp_path)])


def test_a_foreign_key_by_name_to_another_module_says_how_to_write_it(tmp_path: Path) -> None:
    """SQLAlchemy looks for the name among the tables of the same metadata."""
    wrong = sa.MetaData()
    refer = sa.ForeignKey("accounts.id")
    sa.Table("marks", wrong, sa.Column("account", refer, primary_key=True))
    with pytest.raises(SchemaError, match=r"^tests\.marks: .*accounts_table\.c\.id"):
        open_database(Settings(data_dir=tmp_path), [Schema(name="tests.marks", metadata=wrong)])
