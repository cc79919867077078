"""The tables of tests in docs/security.md, docs/express-session.md and SECURITY.md are whole."""

from __future__ import annotations

import pytest

from tests.project.tables import TABLES, Table, marked

# how many requirements each section of OWASP ASVS 5.0 has, chapters V3 and V6 to V8
REQUIREMENTS = {
    "3.1.": 1,
    "3.2.": 3,
    "3.3.": 5,
    "3.4.": 8,
    "3.5.": 8,
    "3.6.": 1,
    "3.7.": 5,
    "6.1.": 3,
    "6.2.": 12,
    "6.3.": 8,
    "6.4.": 6,
    "6.5.": 8,
    "6.6.": 4,
    "6.7.": 2,
    "6.8.": 4,
    "7.1.": 3,
    "7.2.": 4,
    "7.3.": 2,
    "7.4.": 5,
    "7.5.": 3,
    "7.6.": 2,
    "8.1.": 4,
    "8.2.": 4,
    "8.3.": 3,
    "8.4.": 2,
}
# how many behaviours of each kind the tests of express-session 1.19.0 check
BEHAVIOURS = {
    "A": 16,
    "B": 5,
    "C": 6,
    "D": 6,
    "E": 9,
    "F": 2,
    "G": 4,
    "H": 5,
    "I": 6,
    "J": 6,
    "K": 6,
    "L": 5,
    "M": 2,
    "N": 15,
    "O": 12,
    "P": 4,
    "Q": 6,
}
SECURITY, EXPRESS, ATTACKS = TABLES
each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.mark)


def numbered(sections: dict[str, int]) -> list[str]:
    """Return the ids of all rows, in order."""
    return [f"{prefix}{n}" for prefix, most in sections.items() for n in range(1, most + 1)]


@pytest.mark.parametrize(
    ("table", "sections"),
    [(SECURITY, REQUIREMENTS), (EXPRESS, BEHAVIOURS)],
    ids=["asvs", "express"],
)
def test_everything_has_a_row(table: Table, sections: dict[str, int]) -> None:
    """Each requirement and each behaviour has one row, in order."""
    assert list(table.rows()) == numbered(sections)


@each_table
def test_each_row_is_answered(table: Table) -> None:
    """All cells but those of the tests are filled; a row without an answer is a gap."""
    for id, cells in table.rows().items():
        assert all(cells[:-1]), id


def test_each_requirement_has_its_level() -> None:
    """The level is 1, 2 or 3."""
    for id, (level, *rest) in SECURITY.rows().items():
        assert level in ("1", "2", "3"), id
        assert len(rest) == 3, id


def test_each_attack_has_a_test() -> None:
    """Each row names at least one; a removed attack leaves a gap in the ids."""
    assert sorted(ATTACKS.rows()) == sorted(marked(ATTACKS.mark))


@each_table
def test_marks_name_rows_that_are_there(table: Table) -> None:
    """A mark with an unknown id fails."""
    tests = marked(table.mark)
    assert len(tests) > 40
    assert not tests.keys() - table.rows().keys()


@each_table
def test_the_pages_list_the_tests_that_carry_their_marks(table: Table) -> None:
    """The last column of each page is up to date."""
    current = table.written() == table.page.read_text(encoding="utf-8")
    assert current, "run python -m tests.project.tables --write"
