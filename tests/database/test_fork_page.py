"""docs/fork.md, "Tables and migrations": the module and the commands of the page, as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.support.copies import copy_upstream
from tests.support.forms import PASSWORD
from tests.support.paths import ROOT
from tests.support.postgres import Place
from tests.support.process import Process, process
from tests.support.visitor import Visitor

PAGE = (ROOT / "docs" / "fork.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Tables and migrations\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```(python|sh)\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
TABLE = re.compile(r"^notes = sa\.Table\(\n.*?^\)\n", re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with the module of the page."""
    folder = copy_upstream(tmp_path / "project", "vendor")
    (module,) = (code for kind, code in BLOCKS if code.startswith("# handlers/notes/__init__.py"))
    (folder / "handlers" / "notes").mkdir()
    (folder / "handlers" / "notes" / "__init__.py").write_text(module)
    (folder / "handlers" / "local.py").write_text('modules = ("notes",)\n')
    return folder


@pytest.mark.limit(120)
async def test_the_page_leads_from_a_table_to_its_second_migration(
    place: Place, project: Path, tmp_path: Path
) -> None:
    """On both databases the rows stay, and go with their account."""
    place.moved(tmp_path / "data")
    settings = {"LATCHKEY_DATABASE": place.database, "LATCHKEY_DATA_DIR": str(place.data_dir)}

    def server() -> AbstractAsyncContextManager[Process]:
        return process(place.data_dir, f"--database={place.database}", root=project, program="app")

    def command(*words: str) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            [*words],
            cwd=project,
            env={**os.environ, **settings, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async with server() as serving, Visitor(serving.url) as ann:
        assert (await ann.get("/notes", headers={"Accept": "application/json"})).status == 401
        await ann.sign_up("ann")
        assert (await ann.post("/notes", json={"text": "tea"})).json() == {"count": 1}
        socket = await ann.socket(namespaces=("/notes",))
        assert await socket.call("add", "milk") == 2
    first, second = (code for kind, code in BLOCKS if kind == "sh")
    (changed,) = (code for _, code in BLOCKS if code.startswith("notes = "))
    command("sh", "-c", first)
    module = project / "handlers" / "notes" / "__init__.py"
    module.write_text(TABLE.sub(changed, module.read_text()))
    command("sh", "-c", second)
    assert len(list((project / "handlers" / "notes" / "migrations").glob("*.py"))) == 2
    async with server() as serving, Visitor(serving.url) as ann:
        await ann.sign_in("ann")
        assert (await ann.get("/notes")).json() == {"notes": ["tea", "milk"]}
        assert [bool(done) for (done,) in place.run("SELECT done FROM notes")] == [False] * 2
        assert "handlers.notes: " in command("python", "-m", "app.database", "current")
        gone = await ann.post("/account/delete", json={"password": PASSWORD})
        assert gone.status == 204
    assert place.run("SELECT * FROM notes") == []
