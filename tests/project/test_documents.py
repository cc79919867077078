"""The documents are true: commands, examples, links, paths, settings and versions in them."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from app import __version__
from app.sessions import EndReason
from app.settings import Settings
from handlers.session import SessionData
from tests.support.demo import MODULES
from tests.support.files import sources
from tests.support.paths import ROOT
from tests.support.site import serve
from tests.support.visitor import Visitor

DOCUMENTS = sorted(path for path in sources() if path.suffix == ".md")
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: Files that readers make as an exercise, files of a pattern, and what a run fetches.
NOT_HERE = {
    *("handlers/local.py", "handlers/orders/", "handlers/orders/__init__.py"),
    "handlers/brand/__init__.py",
    *("handlers/brand/templates/login.html", "static/brand.css", "tests/shop/"),
    "static/orders.js",
    *("handlers/chat.py", "handlers/templates/chat.html", "static/chat.js", "handlers/count.py"),
    *("handlers/notes/migrations/", "handlers/notes.py", "handlers/notes_migrations/"),
    *("tests/test_x.py", "bench/node_modules"),
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in this language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == language]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {
        re.sub(r"[^a-z0-9 _-]", "", line.lower()).strip().replace(" ", "-") for line in headings
    }


# -- the README's commands --


def test_the_readme_has_two_commands_to_copy() -> None:
    """One runs the main job and one runs all tests; each is one line."""
    run, test = (block for block in blocks("sh") if "apt-get" in block)
    assert run.count("\n") == test.count("\n") == 1
    assert run.endswith(".venv/bin/python -m app\n")
    for tool in ("-m pytest", "mypy", "pyright", "ruff check", "ruff format --check"):
        assert f".venv/bin/{tool}" in test.replace(".venv/bin/python -m", ".venv/bin/-m")


def test_the_readmes_commands_install_one_package_of_debian() -> None:
    """Everything else comes by pip."""
    for block in (block for block in blocks("sh") if "apt-get" in block):
        (script,) = re.findall(r'sh -c "(.*?)"', block)
        words = shlex.split(script.partition("apt-get install")[2])
        assert [word for word in words if not word.startswith("-")] == ["python3-venv"]


def test_ci_runs_the_readmes_line() -> None:
    """What people copy is what is tested."""
    for name in ("run", "install"):
        assert os.access(ROOT / ".ci" / name, os.X_OK)
    line = [block for block in blocks("sh") if "apt-get" in block][1]
    assert text_of(".ci/run").endswith("\n" + line)


# -- the README's example --


class ChattySession(SessionData):
    """The stock session with the field that the README adds."""

    said: int = 0


async def test_the_readmes_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """handlers/chat.py, as printed: the page and the socket count one session's messages."""
    (example,) = (block for block in blocks("python") if "ChatNamespace" in block)
    (tmp_path / "readme_example").mkdir()
    (tmp_path / "readme_example" / "chat.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    assert '\nmodules = ("chat",)\n' in README
    modules = (*MODULES, "readme_example.chat")
    async with (
        serve(tmp_path, modules=modules, data_type=ChattySession) as site,
        Visitor(site.url) as visitor,
    ):
        assert (await visitor.get("/chat"))[0] == 302
        await visitor.sign_up("ada")
        socket = await visitor.socket(namespaces=("/chat",))
        assert await socket.call("say", "hello", namespace="/chat") == 1
        assert await visitor.post("/chat", json={"text": "again"}) == (200, "2")
        assert await visitor.get("/chat") == (200, "2")
        await socket.close()


# -- links and paths --


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading that is in it."""
    page = document.read_text(encoding="utf-8")
    for target, _, anchor in (
        link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", page) if ":" not in link
    ):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), anchor


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    """Paths in backticks, from the root of the repository."""
    page = document.read_text(encoding="utf-8")
    paths = re.findall(
        r"`((?:\.ci|app|bench|deploy|docs|handlers|static|tests)/[\w./@-]*[\w/])`", page
    )
    for path in set(paths) - NOT_HERE:
        assert (ROOT / path).exists(), path


def test_architecture_describes_every_package() -> None:
    """Each has a row in the table of rooms."""
    described = re.findall(r"^\| `(app/[\w/]+)` \|", text_of("docs/architecture.md"), re.MULTILINE)
    packages = [relative(path.parent) for path in (ROOT / "app").rglob("__init__.py")]
    assert sorted(described) == sorted(set(packages) - {"app"})


# -- settings and versions --


def test_the_table_of_settings_is_whole() -> None:
    """Every setting has one row, with its default, in the order of its group."""
    rows = re.findall(r"^\| `--([a-z-]+)` \| (.*?) \| (.+) \|$", text_of("docs/settings.md"), re.M)
    defaults = {
        field.name.replace("_", "-"): field.metadata["default"] or "none"
        for field in dataclasses.fields(Settings)
    }
    assert sorted(name for name, _, _ in rows) == sorted(defaults)
    for name, default, meaning in rows:
        assert default.strip("`") == defaults[name], name
        assert meaning


def test_the_changelog_is_about_this_version() -> None:
    """The version in the code is released, or announced as the next one."""
    page = text_of("CHANGELOG.md")
    headings = re.findall(r"^## \[(.+?)\]", page, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert __version__ in headings or f"The next one is {__version__}." in page


def test_the_workflow_runs_what_tox_lists() -> None:
    """Every environment of tox, and so every Python that setup.py allows."""
    (listed,) = re.findall(r"^env_list = (.*)$", text_of("tox.ini"), re.MULTILINE)
    listed = listed.replace("py3{11-14}", "py311, py312, py313, py314")
    workflow = text_of(".github/workflows/tests.yml")
    matrix = dict(re.findall(r'\{ python: "([\d.]+)", env: (\w+) \}', workflow)[::-1])
    environments = re.findall(r"env: (\w+) \}", workflow)
    assert sorted(environments) == sorted(listed.split(", "))
    assert sorted(matrix) == ["3.11", "3.12", "3.13", "3.14"]


# -- the repository --


def test_no_file_names_a_registry_or_this_machine() -> None:
    """Where packages come from is the machine's own setting; paths are of no use elsewhere."""
    needles = [
        ".".join(["registry", "npmjs"]),
        ".".join(["pypi", "org"]),
        ".".join(["pythonhosted", "org"]),
        ".".join(["deb", "debian"]),
        "/".join(["", "work", ""]),
        "/".join(["", "root", ""]),
    ]
    found = [
        f"{path.relative_to(ROOT)} has {needle}"
        for path in sources()
        for needle in needles
        if needle.encode() in path.read_bytes()
    ]
    assert not found


def test_the_page_of_sessions_has_every_reason_of_an_end() -> None:
    """In the table of `session ended`, each once."""
    page = (ROOT / "docs" / "sessions.md").read_text(encoding="utf-8")
    table = page.partition("\n## session ended\n")[2].partition("\n## ")[0]
    reasons = re.findall(r"^\| `(\w+)` \|.*signed (?:in|out) \|$", table, re.MULTILINE)
    assert sorted(reasons) == sorted(get_args(EndReason))
