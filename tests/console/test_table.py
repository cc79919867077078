"""Tables for people, and times."""

from __future__ import annotations

import time

import pytest

from app.console import times
from app.console.errors import WrongCall
from app.console.table import Column, printable, table

COLUMNS = (Column("NAME", 5), Column("NOTE", 6), Column("ID", 10, droppable=True))


def test_a_table_is_as_wide_as_its_cells() -> None:
    """Titles and cells stand below each other; ends of lines have no spaces."""
    assert table(COLUMNS, [["ann", "x", "1"], ["bob", "", "22"]], None) == [
        "NAME  NOTE  ID",
        "ann   x     1",
        "bob         22",
    ]


def test_a_table_that_is_too_wide_gives_way() -> None:
    """The widest one first; a column is left out if the others cannot be cut enough."""
    row = ["a" * 30, "b" * 30, "c" * 10]
    assert table(COLUMNS, [row], 40)[1] == "aaaaaaaaaaaa…  bbbbbbbbbbbb…  cccccccccc"
    assert table(COLUMNS, [row], 20)[1] == "aaaaaaaa…  bbbbbbbb…"
    assert len(table(COLUMNS, [row], 5)[1]) == 13


def test_letters_of_two_columns_count_twice() -> None:
    """As terminals show them."""
    lines = table(COLUMNS, [["漢字", "x", ""], ["ann", "y", ""]], None)
    assert lines[1:] == ["漢字  x", "ann   y"]
    assert table(COLUMNS[:1], [["漢字漢字漢字"]], 6)[1] == "漢字…"


def test_no_cell_controls_the_terminal() -> None:
    """A browser's name may hold anything."""
    assert printable("a\x1b[31m\r\n\u202eb") == "a\ufffd[31m\ufffd\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)]
)
def test_durations(text: str, seconds: float) -> None:
    """A number and a unit."""
    assert times.read_duration("--stale", text) == seconds


def test_a_day_begins_and_ends_at_midnight_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the time zone of the machine; as an end it is included."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        began = times.read_time("--since", "2026-11-01")
        assert times.shown(began) == "2026-11-01 00:00"
        assert times.read_time("--until", "2026-11-01", end_of_day=True) - began == 86_400
        assert times.read_time("--until", "2026-11-01T00:00", end_of_day=True) == began
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "lately", "2026-13-01"])
def test_other_times_are_refused(text: str) -> None:
    """With what to write."""
    with pytest.raises(WrongCall, match="write"):
        times.read_time("--since", text)
