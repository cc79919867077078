"""A site of the real program, whose releases differ in the module `notes`."""

from __future__ import annotations

from pathlib import Path

from tests.support.copies import copy_upstream
from tests.support.release_site import ReleaseSite

NOTES = '''"""Notes, and the name of the release."""

import sqlalchemy as sa

from handlers.session import BaseHandler

RELEASE = "{name}"
metadata = sa.MetaData()
notes = sa.Table(
    "notes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
{columns})


class NotesHandler(BaseHandler):
    async def get(self) -> None:
        count = sa.select(sa.func.count()).select_from(notes)
        read = self.services.database.read
        number = await read(lambda connection: connection.execute(count).scalar_one())
        self.write({{"release": RELEASE, "notes": number, "user": self.session.user}})

    async def post(self) -> None:
        add = sa.insert(notes).values(text="a note")
        await self.services.database.run(lambda connection: connection.execute(add).rowcount)


routes = [("/notes", NotesHandler)]
'''
MIGRATION = '''"""A migration."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {down!r}


def upgrade() -> None:
    {up}


def downgrade() -> None:
    {back}
'''
MAKE = (
    'op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True), '
    'sa.Column("text", sa.Text, nullable=False))'
)
ADD = 'op.add_column("notes", sa.Column("mood", sa.Text, server_default="calm"))'
MOOD = '    sa.Column("mood", sa.Text, server_default="calm"),\n'


class NotesSite(ReleaseSite):
    """The program with the module `notes`; the release v1 is committed."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """`environ` are the settings of its processes."""
        super().__init__(folder, **environ)
        copy_upstream(self.source)
        self.write("handlers/local.py", 'modules = ("notes",)\n')
        self._write_migration("0001", None, MAKE, "pass")
        self.commit_notes("v1")

    def commit_notes(self, tag: str, columns: str = "", more: str = "") -> None:
        """Commit a release of this tag, whose module has these columns and lines."""
        self.write("handlers/notes/__init__.py", NOTES.format(name=tag, columns=columns) + more)
        self.commit(tag)

    def commit_migration(self, tag: str) -> None:
        """Commit a release that adds a column."""
        self._write_migration("0002", "0001", ADD, 'op.drop_column("notes", "mood")')
        self.commit_notes(tag, MOOD)

    def _write_migration(self, revision: str, down: str | None, up: str, back: str) -> None:
        text = MIGRATION.format(revision=revision, down=down, up=up, back=back)
        self.write(f"handlers/notes/migrations/{revision}.py", text)
