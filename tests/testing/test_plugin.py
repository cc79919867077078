"""pytest's plugin: the fixtures in projects of others, in both modes of pytest-asyncio."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import pytest

@pytest.mark.asyncio
async def test_counter(latchkey, visitor):
    assert await visitor.post("/incr") == (200, "1")
    socket = await latchkey.visitor().socket()
    assert await socket.call("incr") == 1
"""

STRANGER = """
import sys

def test_latchkey_is_not_loaded(pytestconfig):
    assert pytestconfig.pluginmanager.has_plugin("latchkey_pytest")
    assert not {"tornado", "socketio", "aiohttp", "handlers"} & sys.modules.keys()
    import app
    assert app.MINE

def test_their_own_fixture_counts(visitor):
    assert visitor == "theirs"
"""
THEIRS = """
import pytest

@pytest.fixture
def visitor():
    return "theirs"
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder, as a project that has Latchkey installed."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


def test_the_fixtures_work_in_both_modes(tmp_path: Path) -> None:
    """By the entry point, without a conftest.py."""
    (tmp_path / "test_it.py").write_text(TEST)
    for mode in ("auto", "strict"):
        scope = "asyncio_default_fixture_loop_scope=function"
        done = run(tmp_path, "-o", f"asyncio_mode={mode}", "-o", scope, "-W", "error")
        assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_does_not_disturb_other_projects(tmp_path: Path) -> None:
    """It loads nothing of Latchkey, not even into a project with an `app` of its own."""
    (tmp_path / "app.py").write_text("MINE = True\n")
    (tmp_path / "conftest.py").write_text(THEIRS)
    (tmp_path / "test_it.py").write_text(STRANGER)
    done = run(tmp_path, "-p", "no:asyncio", "-p", "no:anyio", "-W", "error")
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_without_pytest_asyncio_a_fixture_says_what_is_missing(tmp_path: Path) -> None:
    """Instead of a coroutine that nobody awaits."""
    (tmp_path / "pytest_asyncio.py").write_text("raise ImportError\n")
    (tmp_path / "test_it.py").write_text("def test_it(visitor):\n    pass\n")
    done = run(tmp_path, "-p", "no:asyncio")
    assert "pip install 'latchkey[testing]'" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["latchkey", "visitor", "latchkey_options"])
def test_the_fixtures_are_documented(name: str, pytestconfig: pytest.Config) -> None:
    """`pytest --fixtures` lists them with what they are."""
    plugin = pytestconfig.pluginmanager.get_plugin("latchkey_pytest")
    assert getattr(plugin, name).__doc__
