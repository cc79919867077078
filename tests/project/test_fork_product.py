"""The modules of docs/fork.md, together, are a product on both databases and on two processes.

The module `oidc` of the page needs a provider, and is not among them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.postgres import Postgres
from tests.support.process import process
from tests.support.redis_server import RedisServer
from tests.support.visitor import Visitor

PAGE = (ROOT / "docs" / "fork.md").read_text(encoding="utf-8")
FILES = {
    file: code
    for code, file in re.findall(
        r"^```python\n(# (handlers/\S+\.py)\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
    )
}
MODULES = ("notes", "orders", "members", "company", "moderators")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with these modules and the first migration of the notes."""
    folder = tmp_path_factory.mktemp("product")
    for name in ("app", "handlers", "static"):
        ignored = shutil.ignore_patterns("__pycache__", "vendor")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in MODULES:
        file = f"handlers/{name}/__init__.py"
        file = file if file in FILES else f"handlers/{name}.py"
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_text(FILES[file])
    (folder / "handlers" / "local.py").write_text(f"modules = {MODULES!r}\n")
    revision = [sys.executable, "-m", "app.database", "revision", "notes", "-m", "Notes"]
    subprocess.run(revision, cwd=folder, check=True, capture_output=True)
    return folder


async def test_it_serves_on_sqlite(product: Path, tmp_path: Path) -> None:
    async with (
        process(tmp_path, root=product, program="app") as server,
        Visitor(server.url) as ann,
    ):
        await ann.sign_up("ann")
        assert (await ann.post("/notes", json={"text": "tea"})).json() == {"count": 1}
        socket = await ann.socket(namespaces=("/orders",))
        assert (await ann.post("/orders", json={"item": "tea", "amount": 2})).status == 200
        assert await socket.event("ordered") == "tea"


@pytest.mark.limit(60)
async def test_it_serves_on_two_processes(
    product: Path, postgres: Postgres, tmp_path: Path
) -> None:
    """The first has migrated an empty database; a session and its notes are at both."""
    redis = RedisServer(tmp_path)
    try:
        redis.start()
        flags = (
            f"--database={postgres.url(postgres.database())}",
            f"--store={redis.url}",
            "--secret-keys=" + "0123456789abcdef" * 4,
        )
        async with (
            process(tmp_path / "a", *flags, root=product, program="app") as first,
            process(
                tmp_path / "b", *flags, "--process-number=1", root=product, program="app"
            ) as second,
            Visitor(first.url) as here,
        ):
            await here.sign_up("ann")
            async with Visitor(second.url, Cookie=here.cookie) as there:
                assert (await here.post("/notes", json={"text": "tea"})).json() == {"count": 1}
                assert (await there.get("/notes")).json() == {"notes": ["tea"]}
                assert (await there.post("/orders", json={"item": "tea"})).json() == {
                    "item": "tea",
                    "count": 1,
                }
    finally:
        redis.kill()
