"""The command `python -m app.database`, in a copy of the project with a module of its own."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.copies import copy_upstream
from tests.support.postgres import Place
from tests.support.process import Process, process, run_copy
from tests.support.visitor import Visitor

CHAT = '''"""A chat that stores its messages."""

import sqlalchemy as sa

from handlers.session import BaseHandler

metadata = sa.MetaData()
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
)


class ChatHandler(BaseHandler):
    async def post(self) -> None:
        (text,) = self.fields("text")
        add = sa.insert(messages).values(text=text)
        await self.services.database.run(lambda connection: connection.execute(add).rowcount)


routes = [(r"/chat", ChatHandler)]
'''
COLUMN = '    sa.Column("text", sa.Text, nullable=False),\n'
MORE = COLUMN + '    sa.Column("room", sa.Text, server_default="lobby", index=True),\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the module `chat`."""
    folder = copy_upstream(tmp_path / "project", "vendor")
    (folder / "handlers" / "local.py").write_text('modules = ("chat",)\n')
    (folder / "handlers" / "chat.py").write_text(CHAT)
    return folder


async def run(project: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, its output and its errors."""
    quiet = {"PYTHONDONTWRITEBYTECODE": "1"}  # no __pycache__ beside the migrations
    return await run_copy(project, *arguments, program="app.database", **quiet)


@pytest.mark.limit(120)
async def test_a_table_changes_and_its_rows_stay(
    place: Place, project: Path, tmp_path: Path
) -> None:
    """The way of a fork's author: a table, its first revision, a column, and the way back."""
    folder = project / "handlers" / "chat_migrations"
    place.moved(tmp_path / "data")
    kind = () if place.database == "sqlite" else (f"--database={place.database}",)
    at = (f"--data-dir={place.data_dir}", f"--database={place.database}")

    def server() -> AbstractAsyncContextManager[Process]:
        return process(place.data_dir, at[1], root=project, program="app")

    async with server() as serving, Visitor(serving.url) as ann:
        assert (await ann.post("/chat", json={"text": "hello"})).status == 200

    code, out, error = await run(project, "revision", "chat", "-m", "Messages", *kind)
    assert (code, error) == (0, ""), error
    assert out.startswith("handlers/chat_migrations/")
    assert (await run(project, "revision", "chat", "-m", "again", *kind))[1].endswith(
        "is written\n"
    )
    (project / "handlers" / "chat.py").write_text(CHAT.replace(COLUMN, MORE))
    assert (await run(project, "revision", "handlers.chat", "-m", "Rooms", *kind))[0] == 0
    assert len(list(folder.iterdir())) == 2
    first = next(path.stem.rpartition("_")[2] for path in folder.glob("*_messages_*"))

    code, out, error = await run(project, "current", *at)
    assert (code, "handlers.chat: without a revision" in out) == (0, True)
    async with server() as serving, Visitor(serving.url) as ann:
        assert (await ann.post("/chat", json={"text": "bye"})).status == 200
    rows = [(1, "hello", "lobby"), (2, "bye", "lobby")]
    assert place.run("SELECT id, text, room FROM messages ORDER BY id") == rows

    code, out, error = await run(project, "downgrade", "chat", first, *at)
    assert (code, f"handlers.chat: {first}; newest: " in out) == (0, True), error
    assert place.run("SELECT * FROM messages ORDER BY id") == [row[:2] for row in rows]
    code, out, error = await run(project, "upgrade", *at)
    assert (code, out.count(", the newest")) == (0, 2), error


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "see python -m app.database --help"),
        (("revision", "chat"), 2, "--message"),
        (("revision", "nothing", "-m", "x"), 2, "there are: app.accounts, handlers.chat"),
        (("downgrade", "chat", "base", "--data-dir=nowhere"), 1, "no data folder nowhere;"),
        (("current", "--database=postgresql://127.0.0.1:1/x"), 1, "could not be opened"),
    ],
)
async def test_a_wrong_call_gets_a_sentence(
    project: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, out, error = await run(project, *arguments)
    assert (found, out, error.count("\n")) == (code, "", 1), error
    assert said in error


async def test_an_empty_revision_is_for_data(project: Path) -> None:
    assert (await run(project, "revision", "chat", "-m", "Messages"))[0] == 0
    assert (await run(project, "revision", "chat", "-m", "Fill", "--empty"))[0] == 0
    (path,) = (project / "handlers" / "chat_migrations").glob("*_fill_*")
    assert "def upgrade() -> None:\n    pass\n" in path.read_text()
