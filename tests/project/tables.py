"""The tables whose last column lists tests, and the command that writes that column.

A test names the rows that it belongs to by a mark: `@pytest.mark.asvs("7.2.4", "7.4.3")`.

    python -m tests.project.tables            list the pages that are out of date
    python -m tests.project.tables --write    write them
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Table:
    """The tables of one page: `mark` is the mark of its tests, `id` the pattern of a row's id."""

    page: Path
    mark: str
    id: str

    def rows(self) -> dict[str, list[str]]:
        """Return the cells of each row by its id, without the cell of the id itself."""
        found: dict[str, list[str]] = {}
        for line in self.page.read_text(encoding="utf-8").splitlines():
            if match := self._row(line):
                assert match[1] not in found, f"{self.page.name} has two rows {match[1]}"
                found[match[1]] = [cell.strip() for cell in match[2].split("|")]
        return found

    def written(self) -> str:
        """Return the page with its last column as the marks of the tests have it."""
        tests = marked(self.mark)
        lines = self.page.read_text(encoding="utf-8").splitlines()
        return "".join(f"{self._with_tests(line, tests)}\n" for line in lines)

    def _with_tests(self, line: str, tests: dict[str, list[Test]]) -> str:
        match = self._row(line)
        if match is None:
            return line
        kept = match[2].rpartition("|")[0]
        links = ", ".join(test.link(self.page.parent) for test in tests.get(match[1], []))
        return f"| {match[1]} |{kept}| {links} |"

    def _row(self, line: str) -> re.Match[str] | None:
        return re.match(rf"\| ({self.id}) \|(.*)\|$", line)


@dataclass(frozen=True, order=True)
class Test:
    """A test function and its file below tests/."""

    file: str
    name: str

    def link(self, folder: Path) -> str:
        """Return a link of a page in this folder: what the test is called, and where it is."""
        path = ("../" if folder != ROOT else "") + f"tests/{self.file}"
        return f"[{self.name.removeprefix('test_')}]({path})"


TABLES = (
    Table(ROOT / "docs" / "security.md", "asvs", r"\d\.\d\.\d+"),
    Table(ROOT / "docs" / "express-session.md", "express", r"[A-Q]\d+"),
    Table(ROOT / "SECURITY.md", "attack", r"A\d+"),
)


def marked(mark: str) -> dict[str, list[Test]]:
    """Return the tests that carry this mark by the ids that it names."""
    found: dict[str, list[Test]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if f"pytest.mark.{mark}(" not in text:
            continue
        file = str(path.relative_to(ROOT / "tests"))
        for name, ids in _marks(ast.parse(text), mark):
            for id in ids:
                found.setdefault(id, []).append(Test(file, name))
    return {id: sorted(tests) for id, tests in found.items()}


def _marks(tree: ast.Module, mark: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each test that has the mark, and the mark's arguments."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if (
                    isinstance(decorator, ast.Call)
                    and ast.unparse(decorator.func) == f"pytest.mark.{mark}"
                ):
                    yield node.name, [str(ast.literal_eval(id)) for id in decorator.args]


def main(write: bool) -> int:
    """Write the pages, or list those that are out of date; return the exit status."""
    stale = [table for table in TABLES if table.written() != table.page.read_text("utf-8")]
    for table in stale:
        if write:
            table.page.write_text(table.written(), encoding="utf-8")
        print(f"{table.page.relative_to(ROOT)}: {'written' if write else 'out of date'}")
    return int(bool(stale) and not write)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
