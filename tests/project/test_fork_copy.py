"""A fork without the counter and with its own sign-in page serves, and its tests stay green."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.files import sources
from tests.support.paths import ROOT
from tests.support.process import process
from tests.support.visitor import Visitor

# of names that a fork is unlikely to have; its own files are copied too
FILES = {
    "handlers/local.py": 'modules = ("sample_look", "sample_home")\nwithout = ("counter",)\n',
    "handlers/sample_look/__init__.py": '"""How this site looks."""\n',
    "handlers/sample_look/templates/login.html": "<form method=post>Enter our shop"
    "<input name=username><input name=password></form>",
    "handlers/sample_look/templates/base.html": '<link href="'
    "{{ static_url('sample_look.css') }}\">{% block main %}{% end %}",
    "handlers/sample_home.py": '''"""The chat of this fork."""

import sqlalchemy as sa

from handlers.session import BaseHandler

metadata = sa.MetaData()
sa.Table("sample_visits", metadata, sa.Column("id", sa.Integer, primary_key=True))


class HomeHandler(BaseHandler):
    """The page."""

    def get(self) -> None:
        self.finish("welcome to the chat")


routes = [("/", HomeHandler)]
''',
    # as docs/fork.md says in "Tests of your own"
    "tests/test_sample_home.py": '''"""A test of this fork."""

from app.testing import Site, Visitor


async def test_the_home_page_is_the_chat(latchkey: Site, visitor: Visitor) -> None:
    assert type(visitor) is Visitor
    await visitor.register("ann")
    assert await visitor.get("/") == (200, "welcome to the chat")
    assert (await latchkey.visitor().post("/incr")).status == 404
''',
    "tests/sample/conftest.py": '''"""Options of these tests."""

import pytest


@pytest.fixture
def latchkey_options():
    return {"registration": "closed"}
''',
    "tests/sample/test_sample.py": '''"""A test in a folder of its own."""

from app.testing import Visitor


async def test_nobody_registers(visitor: Visitor) -> None:
    assert (await visitor.get("/register")).status == 403
''',
    "static/sample_look.css": "body { color: teal }\n",
}
# tests of the parts that it left out or replaced
TESTS = (
    *("tests/accounts/test_sign_in.py", "tests/handlers/test_counter.py"),
    "tests/project/test_check.py::test_it_checks_beside_the_running_program",
)
OWN = ("tests/test_sample_home.py", "tests/sample")


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository, with the files of a fork."""
    folder = tmp_path_factory.mktemp("fork")
    for path in sources():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def test_the_fork_serves_what_its_local_py_lists(fork: Path, tmp_path: Path) -> None:
    """Its home page and its sign-in, upstream's other pages in its frame, and no counter."""
    async with (
        process(tmp_path / "data", "--store=memory", root=fork, program="app") as site,
        Visitor(site.url) as visitor,
    ):
        assert await visitor.get("/") == (200, "welcome to the chat")
        assert (await visitor.post("/incr"))[0] == 404
        assert "Enter our shop" in (await visitor.get("/login"))[1]
        status, register = await visitor.get("/register")
        assert status == 200
        assert "/static/sample_look.css?" in register
        assert (await visitor.get("/static/sample_look.css"))[0] == 200
        await visitor.sign_up("ann")
        assert (await visitor.get("/account"))[0] == 200


@pytest.mark.limit(300)
def test_the_tests_of_fork_and_upstream_are_green_in_the_fork(fork: Path) -> None:
    """The fork's are served its own modules, upstream's those of their own choice."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS, *OWN],
        cwd=fork,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
