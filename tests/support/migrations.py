"""Tables of a made-up module, with migrations in a folder, and starts in processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import sqlalchemy as sa

from app.accounts import open_database
from app.database import Schema
from app.settings import Settings
from tests.support import forked
from tests.support.postgres import Place

SCRIPT = '''"""A migration."""

import os
import time
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down}


def wait() -> None:
    """Tell that this point is reached, and wait while the file exists."""
    reached = Path(__file__).with_name("reached")
    reached.touch()
    while reached.exists():
        time.sleep(0.01)


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {back}
'''
MAKE = 'op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True))'
ADD_TEXT = 'op.add_column("notes", sa.Column("text", sa.Text))'


def notes(*columns: str) -> sa.MetaData:
    """Return the metadata of a table of notes with an id and these columns."""
    metadata = sa.MetaData()
    texts = [sa.Column(name, sa.Text) for name in columns]
    sa.Table("notes", metadata, sa.Column("id", sa.Integer, primary_key=True), *texts)
    return metadata


def write(folder: Path, revision: str, down: str | None, up: str, back: str = "pass") -> Path:
    """Write a script; `up` and `back` are its statements."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{revision}_script.py"
    path.write_text(SCRIPT.format(revision=revision, down=repr(down), up=up, back=back))
    return path


def schema(folder: Path | None, *columns: str) -> Schema:
    """Return the tables of the made-up module."""
    return Schema(name="tests.notes", metadata=notes(*columns), migrations=folder)


async def start(place: Place, *schemas: Schema) -> None:
    """Open the database with the accounts and these tables, and close it."""
    await open_database(place.settings, schemas).close()


async def begin_process(place: Place, folder: Path, *columns: str) -> forked.Child:
    """Begin a process that opens the database when it gets a line, with migrations in a folder."""
    arguments = (place.database, str(place.data_dir), str(folder), *columns)
    return await forked.start("tests.support.migrations", *arguments, environ=os.environ)


def main(database: str, data_dir: str, folder: str, *columns: str) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    settings = Settings(database=database, data_dir=Path(data_dir))
    asyncio.run(open_database(settings, [schema(Path(folder), *columns)]).close())
    print("alembic" in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
