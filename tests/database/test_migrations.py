"""Tables are made or migrated at the start, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from app.accounts import open_database
from app.accounts.schema import SCHEMA, accounts
from app.database import Schema, SchemaError
from app.database.engine import open_engine
from app.database.migrations import pending
from app.database.scratch import make_revision
from app.settings import Settings
from tests.support.accounts import opened_at
from tests.support.forms import PASSWORD
from tests.support.migrations import ADD_TEXT, MAKE, begin_process, notes, schema, start, write
from tests.support.postgres import Place, Postgres
from tests.support.waiting import until

pytestmark = pytest.mark.limit(90)

OLD_TABLE = (
    "CREATE TABLE accounts (key TEXT NOT NULL, name TEXT NOT NULL, password_hash TEXT NOT NULL, "
    "created {double} NOT NULL, PRIMARY KEY (key))"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for migrations, which is not made yet."""
    return tmp_path / "migrations"


def old_database(place: Place) -> None:
    """Make the database as the last release without migrations did, with an account."""
    if place.database == "sqlite":
        sqlite3.connect(place.data_dir / "accounts.sqlite3").close()
    kind = "DOUBLE" if place.database == "sqlite" else "DOUBLE PRECISION"
    place.run(OLD_TABLE.format(double=kind))
    place.run("INSERT INTO accounts VALUES ('ann', 'Ann', 'a hash', 1.5)")


def tables(place: Place) -> set[str]:
    """Return the names of all tables."""
    if place.database == "sqlite":
        rows = place.run("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        rows = place.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {row[0] for row in rows}


def revision(place: Place, module: str = "tests_notes") -> str | None:
    """Return the revision of a module in the database."""
    if f"alembic_version_{module}" not in tables(place):
        return None
    ((found,),) = place.run(f"SELECT version_num FROM alembic_version_{module}")
    return str(found)


# -- tables without migrations --


async def test_missing_tables_are_made_from_the_metadata(place: Place) -> None:
    """A later start makes those that were added, and touches no other."""
    await start(place, schema(None, "text"))
    place.run("INSERT INTO notes VALUES (1, 'hello')")
    more = notes("text")
    sa.Table("tags", more, sa.Column("tag", sa.Text, primary_key=True))
    await start(place, Schema(name="tests.notes", metadata=more))
    assert place.run("SELECT * FROM notes") == [(1, "hello")]
    assert place.run("SELECT * FROM tags") == []


async def test_a_column_without_a_migration_stops_the_start(place: Place) -> None:
    """The sentence has the command that writes one."""
    await start(place, schema(None))
    with pytest.raises(SchemaError, match=r"table notes .* no column text; .*app\.database revis"):
        await start(place, schema(None, "text"))


async def test_a_new_table_does_not_hide_a_column_without_a_migration(place: Place) -> None:
    await start(place, schema(None))
    more = notes("text")
    sa.Table("tags", more, sa.Column("tag", sa.Text, primary_key=True))
    with pytest.raises(SchemaError, match=r"table notes .* no column text"):
        await start(place, Schema(name="tests.notes", metadata=more))
    assert "tags" not in tables(place)


# -- tables with migrations --


async def test_each_start_compares_the_columns_of_a_database_at_head(
    place: Place, folder: Path
) -> None:
    """A column or a table that no script adds stops it, and so it is with --check."""
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    more = notes()
    sa.Table("tags", more, sa.Column("tag", sa.Text, primary_key=True))
    for metadata, sentence in (
        (notes("text"), r"table notes .* no column text; .*app\.database revision tests\.notes"),
        (more, r"no table tags; .*app\.database revision tests\.notes"),
    ):
        changed = Schema(name="tests.notes", metadata=metadata, migrations=folder)
        with pytest.raises(SchemaError, match=sentence):
            await start(place, changed)
        engine = open_engine(place.settings, connections=1)
        with pytest.raises(SchemaError, match=sentence):
            pending(engine, [changed])
        engine.dispose()
    await start(place, schema(folder))


async def test_migrations_run_once_and_each_module_has_its_own_revision(
    place: Place, folder: Path
) -> None:
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    assert revision(place) == "a"
    place.run("INSERT INTO notes VALUES (1)")
    write(folder, "b", "a", ADD_TEXT)
    for _ in range(2):
        await start(place, schema(folder, "text"))
    assert place.run("SELECT * FROM notes") == [(1, None)]
    assert revision(place) == "b"
    assert revision(place, "app_accounts") not in (None, "a", "b")


async def test_an_older_database_of_accounts_is_migrated(place: Place) -> None:
    """Its table has no revision; the accounts stay, and so does what is stored meanwhile."""
    old_database(place)
    async with opened_at(place.settings) as accounts:
        assert await accounts.password_hash("ann") == "a hash"
        await accounts.register("bob", PASSWORD)
    assert revision(place, "app_accounts") is not None
    assert [name for _, name, _ in place.stored()] == ["Ann", "bob"]


async def test_a_module_that_gets_migrations_keeps_its_tables(place: Place, folder: Path) -> None:
    """The first revision is taken as what the metadata has made before."""
    await start(place, schema(None))
    place.run("INSERT INTO notes VALUES (1)")
    write(folder, "a", None, MAKE)
    write(folder, "b", "a", ADD_TEXT)
    await start(place, schema(folder, "text"))
    assert place.run("SELECT * FROM notes") == [(1, None)]


async def test_the_table_of_accounts_is_the_same_with_and_without_its_migrations(
    place: Place, tmp_path: Path
) -> None:
    """A new database is made without them, since Alembic takes long to load."""
    copy = tmp_path / "copy"
    shutil.copytree(SCHEMA.migrations or "", copy)
    copied = dataclasses.replace(SCHEMA, migrations=copy)
    assert make_revision(place.settings, [copied], copied, "nothing", empty=False) is None
    if place.database != "sqlite":
        assert place.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'latchkey%'") == []


async def test_a_database_of_a_newer_release_is_refused(place: Place, folder: Path) -> None:
    """The older one changes nothing, and says what to do."""
    write(folder, "a", None, MAKE)
    newer = write(folder, "b", "a", ADD_TEXT)
    await start(place, schema(folder, "text"))
    newer.unlink()
    with pytest.raises(SchemaError, match=r"revision b.* downgrade tests\.notes a"):
        await start(place, schema(folder))
    assert revision(place) == "b"


async def test_migrations_whose_folder_is_missing_are_noticed(place: Place, folder: Path) -> None:
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    with pytest.raises(SchemaError, match=r"tests\.notes.*put it back"):
        await start(place, schema(None))


async def test_a_migration_that_forgets_a_column_changes_nothing(
    place: Place, folder: Path
) -> None:
    write(folder, "a", None, MAKE)
    with pytest.raises(SchemaError, match="no column text"):
        await start(place, schema(folder, "text"))
    assert tables(place) == set()


async def test_a_migration_that_fails_changes_nothing(
    place: Place, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sentence names its file; once that is corrected, the start goes on."""
    old_database(place)
    write(folder, "a", None, MAKE)
    bad = write(
        folder, "b", "a", f"{ADD_TEXT}\n    op.execute('INSERT INTO notes VALUES (1, 2, 3)')"
    )
    with pytest.raises(SchemaError, match=rf"^{bad} failed \(.*Correct the file") as caught:
        await start(place, schema(folder, "text"))
    assert "\n" not in str(caught.value)
    assert any(record.exc_info for record in caplog.records)
    assert tables(place) == {"accounts"}
    write(folder, "b", "a", ADD_TEXT)
    await start(place, schema(folder, "text"))
    assert len(place.stored()) == 1


async def test_a_table_that_is_replaced_keeps_the_rows_that_refer_to_it(
    place: Place, folder: Path
) -> None:
    """SQLite alters a table by making it anew; a deleted row takes those that refer to it along."""
    metadata = notes()
    refer = sa.ForeignKey("notes.id", ondelete="CASCADE")
    sa.Table("marks", metadata, sa.Column("note", sa.Integer, refer))
    marks = 'op.create_table("marks", sa.Column("note", sa.Integer, sa.ForeignKey("notes.id", '
    write(folder, "a", None, f'{MAKE}\n    {marks}ondelete="CASCADE")))')
    await start(place, Schema(name="tests.notes", metadata=metadata, migrations=folder))
    place.run("INSERT INTO notes VALUES (1)")
    place.run("INSERT INTO marks VALUES (1)")
    batch = 'with op.batch_alter_table("notes", recreate="{}") as batch:\n        '
    batch = batch.format("always" if place.database == "sqlite" else "auto")
    write(folder, "b", "a", batch + 'batch.add_column(sa.Column("text", sa.Text))')
    own = Schema(name="tests.notes", metadata=metadata, migrations=folder)
    database = open_database(place.settings, [own])
    assert place.run("SELECT note FROM marks") == [(1,)]
    await database.run(lambda c: c.execute(sa.delete(metadata.tables["notes"])).rowcount)
    await database.close()
    assert place.run("SELECT note FROM marks") == []


async def test_a_migration_that_leaves_a_row_without_its_row_is_refused(
    tmp_path: Path, folder: Path
) -> None:
    """SQLite checks foreign keys at the end of the migrations."""
    place = Place(tmp_path, None)
    marks = 'op.execute("CREATE TABLE marks (note INTEGER REFERENCES notes (id))")'
    write(folder, "a", None, f'{MAKE}\n    {marks}\n    op.execute("INSERT INTO marks VALUES (7)")')
    with pytest.raises(SchemaError, match="table marks would refer to a row of notes"):
        await start(place, schema(folder))
    assert tables(place) == set()


async def test_a_row_of_a_module_goes_with_its_account(place: Place) -> None:
    """A foreign key to the accounts is the same promise on both databases."""
    metadata = sa.MetaData()
    refer = sa.ForeignKey(accounts.c.id, ondelete="CASCADE")
    table = sa.Table("marks", metadata, sa.Column("account", sa.Text, refer))
    database = open_database(place.settings, [Schema(name="tests.marks", metadata=metadata)])
    row: dict[str, Any] = {
        "key": "ann",
        "name": "Ann",
        "password_hash": "",
        "created": 1.0,
        "id": "u:1",
    }
    await database.run(lambda c: c.execute(sa.insert(accounts), row).rowcount)
    await database.run(lambda c: c.execute(sa.insert(table), {"account": "u:1"}).rowcount)
    with pytest.raises(IntegrityError):
        await database.run(lambda c: c.execute(sa.insert(table), {"account": "u:2"}).rowcount)
    await database.run(lambda c: c.execute(sa.delete(accounts)).rowcount)
    await database.close()
    assert place.run("SELECT * FROM marks") == []


# -- several processes, and a crash --


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
async def test_of_processes_that_start_at_once_one_migrates(
    place: Place, folder: Path, old: bool
) -> None:
    """The others wait for it, however long it takes, and then find nothing to do."""
    if old:
        old_database(place)
        await start(place, schema(None))
    write(folder, "a", None, MAKE)
    write(folder, "b", "a", f"{ADD_TEXT}\n    wait()")
    processes = [await begin_process(place, folder, "text") for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        await process.stdout.readline()
    for process in processes:
        process.stdin.write(b"\n")
    reached = folder / "reached"
    await until(reached.exists, 30)
    if old:
        await asyncio.sleep(2.5)  # longer than a statement may take at other times
    reached.unlink()
    ends = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 4, ends
    assert sorted(out for out, _ in ends) == [b"False\n"] * 3 + [b"True\n"]
    assert revision(place) == "b"


async def test_a_process_that_is_killed_in_a_migration_leaves_nothing(
    place: Place, folder: Path
) -> None:
    """The database is as before, and the next start migrates it."""
    old_database(place)
    write(folder, "a", None, f"{MAKE}\n    wait()")
    process = await begin_process(place, folder)
    process.stdin.write(b"\n")
    await until((folder / "reached").exists, 30)
    process.kill()
    await process.communicate()
    assert tables(place) == {"accounts"}
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    assert revision(place) == "a"
    assert len(place.stored()) == 1


async def test_a_start_with_nothing_to_migrate_does_not_load_alembic(
    place: Place, folder: Path
) -> None:
    """It would take a quarter of a second; neither does the first start of the program alone."""
    await start(place)
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    process = await begin_process(place, folder)
    out, error = await process.communicate(b"\n")
    assert (out, error) == (b"ready\nFalse\n", b"")


# -- PostgreSQL --


async def test_a_database_user_without_rights_starts_with_tables_at_head(
    postgres: Postgres, tmp_path: Path, folder: Path
) -> None:
    """They may be unable to read the revisions; tables behind the newest one are refused."""
    place = Place(tmp_path, postgres)
    name = place.database.rpartition("/")[2]
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    place.run(
        f"CREATE USER {name}_user PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    )
    place.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON accounts, notes TO {name}_user")
    settings = Settings(data_dir=tmp_path, database=postgres.url(name, f"{name}_user", "secret"))
    for _ in range(2):
        await open_database(settings, [schema(folder)]).close()
        place.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}_user")
    write(folder, "b", "a", ADD_TEXT)
    with pytest.raises((OSError, SchemaError), match=r"permission denied|must be owner"):
        await open_database(settings, [schema(folder, "text")]).close()
    assert revision(place) == "a"


async def test_a_database_user_without_rights_starts_with_the_table_of_an_older_release(
    postgres: Postgres, tmp_path: Path
) -> None:
    """If no migration has changed the table since, none is needed."""
    place = Place(tmp_path, postgres)
    name = place.database.rpartition("/")[2]
    await start(place)
    place.run("DROP TABLE alembic_version_app_accounts")
    place.run(
        f"CREATE USER {name}_user PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    )
    place.run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON accounts TO {name}_user")
    settings = Settings(data_dir=tmp_path, database=postgres.url(name, f"{name}_user", "secret"))
    await open_database(settings).close()


async def test_a_migration_has_no_time_limit(
    postgres: Postgres, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits on statements and answers are those of pages."""
    monkeypatch.setattr("app.database.postgresql._STATEMENT_TIMEOUT", 300)
    monkeypatch.setattr("app.database.postgresql.LimitedConnection.answer_timeout", 0.3)
    place = Place(tmp_path, postgres)
    write(folder, "a", None, MAKE + '\n    op.execute("SELECT pg_sleep(0.6)")')
    await start(place, schema(folder))
    assert revision(place) == "a"


async def test_a_table_that_others_lock_stops_the_start(
    postgres: Postgres, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start does not wait forever for a transaction of another program."""
    monkeypatch.setattr("app.database.migration_lock._TABLE_LOCK_TIMEOUT", 200)
    place = Place(tmp_path, postgres)
    write(folder, "a", None, MAKE)
    await start(place, schema(folder))
    write(folder, "b", "a", ADD_TEXT)
    with psycopg.connect(place.database) as other:
        other.execute("SELECT * FROM notes")
        with pytest.raises(SchemaError, match="lock timeout"):
            await start(place, schema(folder, "text"))
    await start(place, schema(folder, "text"))
    assert revision(place) == "b"


# -- SQLite --


async def test_a_migration_waits_for_another_program_that_writes(
    tmp_path: Path, folder: Path
) -> None:
    """Such as a backup, or a job of a process that still runs."""
    place = Place(tmp_path, None)
    await start(place)
    write(folder, "a", None, MAKE)
    with contextlib.closing(
        sqlite3.connect(tmp_path / "accounts.sqlite3", check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(2.5, other.rollback)
        timer.start()
        await start(place, schema(folder))
        timer.join()
    assert revision(place) == "a"


# -- what is refused before the database is asked --


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (("tests.a", "notes"), ("tests.b", "Notes"), r"^tests\.b: tests\.a has a table Notes too"),
        (
            ("tests.a", "accounts"),
            ("tests.b", "b"),
            r"^tests\.a: app\.accounts has",
        ),
        (("tests.a", "alembic_version_tests_b"), ("tests.b", "b"), "alembic_version_tests_b too"),
        (("tests.a", "n" * 64), ("tests.b", "b"), "too long"),
    ],
)
def test_names_that_clash_stop_the_start(
    tmp_path: Path, first: tuple[str, str], second: tuple[str, str], said: str
) -> None:
    """A sentence names both modules and the table."""
    made = []
    for name, table in (first, second):
        metadata = sa.MetaData()
        sa.Table(table, metadata, sa.Column("id", sa.Integer, primary_key=True))
        made.append(Schema(name=name, metadata=metadata))
    with pytest.raises(SchemaError, match=said):
        open_database(Settings(data_dir=tmp_path), made)


@pytest.mark.parametrize(
    ("scripts", "said"),
    [
        ([], "has no revision; make the first one by"),
        ([("a", None), ("b", "a"), ("c", "a")], "b_script.py and c_script.py .* are both the last"),
        ([("a", None), ("c", "b")], r"c_script\.py follows revision b, which is in no file"),
        ([("a", None), ("b", None)], "must be the first.*a_script.py, b_script.py"),
    ],
)
def test_scripts_that_are_not_in_line_stop_the_start(
    tmp_path: Path, folder: Path, scripts: list[tuple[str, str | None]], said: str
) -> None:
    """Such as after a merge of two branches that each have added one."""
    folder.mkdir()
    for name, down in scripts:
        write(folder, name, down, "pass")
    with pytest.raises(SchemaError, match=said):
        open_database(Settings(data_dir=tmp_path), [schema(folder)])


def test_a_file_that_is_no_script_stops_the_start(tmp_path: Path, folder: Path) -> None:
    path = write(folder, "a", None, "pass")
    path.with_name("copy.py").write_text(path.read_text())
    with pytest.raises(SchemaError, match="the same revision a"):
        open_database(Settings(data_dir=tmp_path), [schema(folder)])
    path.with_name("copy.py").write_text("print('hello')")
    with pytest.raises(SchemaError, match=r"copy\.py is no script of Alembic"):
        open_database(Settings(data_dir=tmp_path), [schema(folder)])
