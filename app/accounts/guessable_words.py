"""Words that guesses of a password begin with: the user's name, the site's name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_MIN_WORD = 3  # letters; shorter words are in many good passwords
_MAX_REST = 4  # letters and digits beside the word that do not help
_YEAR = re.compile(r"(19|20)\d\d")


@dataclass(frozen=True)
class Word:
    """A word and what it is to the user: "your user name"."""

    text: str
    what: str


def letters(text: str) -> str:
    """Return the letters and digits of a text, in lower case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def parts(text: str, what: str) -> list[Word]:
    """Return a text and the words in it that are long enough to count."""
    found = dict.fromkeys([letters(text), *map(letters, re.split(r"[\W_]+", text))])
    return [Word(each, what) for each in found if len(each) >= _MIN_WORD]


def made_of(password: str, words: Iterable[Word]) -> str | None:
    """Return a sentence if a password is one of these words and little else; else None."""
    clean = letters(password)
    for word in words:
        for text, backwards in ((word.text, ""), (word.text[::-1], " backwards")):
            if text in clean:
                rest = clean.replace(text, "")
                if len(rest) <= _MAX_REST:
                    return f"This is {word.what}{backwards}{_beside(rest)}."
    return None


def _beside(rest: str) -> str:
    if not rest:
        return ""
    if _YEAR.fullmatch(rest):
        return " with a year"
    if rest.isdigit():
        return " with a number"
    return " with a few letters more"
