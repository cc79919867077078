"""Tables for people, which fit the width of the terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column and how it gives way when the table is too wide."""

    title: str
    minimum: int = 8  # characters to which it may be cut
    droppable: bool = False  # whether it is left out when cutting is not enough; last ones first


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the lines of a table; `width` is in characters, None for no limit."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max([_width(column.title), *(_width(row[index]) for row in cells)])
        for index, column in enumerate(columns)
    ]
    shown = [*range(len(columns))]
    if width is not None:
        _fit(columns, widths, shown, width)
    lines = [[column.title for column in columns], *cells]
    return [_GAP.join(_cut(line[at], widths[at]) for at in shown).rstrip() for line in lines]


def printable(text: str) -> str:
    """Replace what could control a terminal, or change the direction of text."""
    return "".join(
        letter if letter.isprintable() or letter == "\u00a0" else "\ufffd" for letter in text
    )


def _fit(columns: Sequence[Column], widths: list[int], shown: list[int], width: int) -> None:
    """Leave columns out if their minimum does not fit, then cut the widest ones."""
    while _total([min(w, c.minimum) for w, c in zip(widths, columns, strict=True)], shown) > width:
        extra = [at for at in shown if columns[at].droppable]
        if not extra:
            break
        shown.remove(extra[-1])
    while _total(widths, shown) > width:
        wide = [at for at in shown if widths[at] > columns[at].minimum]
        if not wide:
            return
        widths[max(wide, key=lambda at: widths[at])] -= 1


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + len(_GAP) * (len(shown) - 1)


def _cut(text: str, width: int) -> str:
    """Return the text in exactly so many columns of the terminal."""
    if _width(text) > width:
        kept = ""
        for letter in text:
            if _width(kept + letter) > width - 1:
                break
            kept += letter
        text = kept + "…"
    return text + " " * (width - _width(text))


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
