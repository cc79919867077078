"""The product that docs/fork.md describes, for tests that run it as it is written there."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import handlers
from tests.support.demo import session as demo_session
from tests.support.fork import STOCK
from tests.support.paths import ROOT

_BLOCK = re.compile(
    r"^```\w+\n((?:#|//|\{#) ((?:handlers|static|tests)/\S+)[^\n]*\n.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def page(name: str = "fork") -> str:
    """Return the text of a page of docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return one section of docs/fork.md."""
    return page().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def files(name: str = "fork") -> dict[str, str]:
    """Return the files of a page by path; blocks of one file follow each other in it."""
    found: dict[str, str] = {}
    for code, file in _BLOCK.findall(page(name)):
        found[file] = found.get(file, "") + code
    return found


def modules() -> tuple[str, ...]:
    """Return the modules that the product's `local.py` lists."""
    (assigned,) = ast.parse(files()["handlers/local.py"]).body
    assert isinstance(assigned, ast.Assign)
    names: tuple[str, ...] = eval(ast.unparse(assigned.value), {"__builtins__": {}})
    return names


def write(folder: Path, *pages: str) -> None:
    """Write the files of these pages into a folder."""
    for name in pages or ("fork",):
        for file, code in files(name).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(code, encoding="utf-8")


def import_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `handlers` of this process have the product's modules, until the test ends.

    Sessions are those of the demo, since a fork may change its own.
    """
    names = [path.stem for path in (folder / "handlers").iterdir()]
    for name in names:  # the end of the test removes what it has imported
        monkeypatch.setitem(sys.modules, f"handlers.{name}", demo_session)
        monkeypatch.delitem(sys.modules, f"handlers.{name}")
    monkeypatch.setitem(sys.modules, "handlers.session", demo_session)
    monkeypatch.setattr(handlers, "__path__", [str(folder / "handlers"), *handlers.__path__])


def served(folder: Path, monkeypatch: pytest.MonkeyPatch, *pages: str) -> tuple[str, ...]:
    """Write and import the product; return the names of its modules and of the stock ones."""
    write(folder, *pages)
    import_from(folder, monkeypatch)
    return (*(f"handlers.{name}" for name in modules()), *STOCK)
