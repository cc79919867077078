"""docs/security.md answers every requirement of three chapters of OWASP ASVS 5.0."""

from __future__ import annotations

import re

from tests.support.paths import ROOT

# how many requirements each section has
SECTIONS = {
    "3.1": 1,
    "3.2": 3,
    "3.3": 5,
    "3.4": 8,
    "3.5": 8,
    "3.6": 1,
    "3.7": 5,
    "6.1": 3,
    "6.2": 12,
    "6.3": 8,
    "6.4": 6,
    "6.5": 8,
    "6.6": 4,
    "6.7": 2,
    "6.8": 4,
    "7.1": 3,
    "7.2": 4,
    "7.3": 2,
    "7.4": 5,
    "7.5": 3,
    "7.6": 2,
}


def test_the_table_answers_every_requirement_with_tests_that_exist() -> None:
    """Each has one row with a level and an answer, and each test that the page names is there."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\.\d\.\d+) \|(.*)\|$", page, flags=re.MULTILINE)
    wanted = [f"{section}.{n}" for section, most in SECTIONS.items() for n in range(1, most + 1)]
    assert [number for number, _ in rows] == wanted
    for number, row in rows:
        cells = [cell.strip() for cell in row.split("|")]
        assert len(cells) == 3, number
        assert cells[0] in ("1", "2", "3"), number
        assert all(cells), number
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", page)
    assert len(named) > 50
    for file, test in named:
        (path,) = (ROOT / "tests").rglob(f"{file}.py")
        source = path.read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), f"{file}.{test}"
