"""How easily a password is guessed, by zxcvbn: lists of used passwords, words, dates, patterns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zxcvbn_rs_py import Feedback, Warning, zxcvbn

# zxcvbn tries all readings of letters such as 4 and $, in a time that explodes with the length,
# and holds the interpreter's lock: a part of 24 takes 45 ms at worst, mostly 0.2 ms, and one of 128
# takes seconds
_PART = 24  # characters

_WHY = (
    (Warning.ThisIsATop10Password, "This is one of the most used passwords."),
    (Warning.ThisIsATop100Password, "This is one of the most used passwords."),
    (Warning.ThisIsACommonPassword, "This is one of the most used passwords."),
    (Warning.ThisIsSimilarToACommonlyUsedPassword, "This is close to a much used password."),
    (Warning.StraightRowsOfKeysAreEasyToGuess, "This is a row of keys on the keyboard."),
    (Warning.ShortKeyboardPatternsAreEasyToGuess, "This is a pattern of keys on the keyboard."),
    (Warning.RepeatsLikeAaaAreEasyToGuess, "This repeats a character."),
    (Warning.RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess, "This repeats a few characters."),
    (Warning.SequencesLikeAbcAreEasyToGuess, "This is a sequence such as abc or 6543."),
    (Warning.RecentYearsAreEasyToGuess, "This is little more than a year."),
    (Warning.DatesAreOftenEasyToGuess, "This is little more than a date."),
    (Warning.AWordByItselfIsEasyToGuess, "This is a single word."),
    (Warning.NamesAndSurnamesByThemselvesAreEasyToGuess, "This is a common name."),
    (Warning.CommonNamesAndSurnamesAreEasyToGuess, "This is a common name."),
)
_OTHERWISE = "This is easy to guess."


@dataclass(frozen=True)
class Guesses:
    """How many guesses it takes to find a password."""

    score: int  # 0: below 10^3, 1: below 10^6, 2: below 10^8, 3: below 10^10, 4: more
    why: str  # a sentence for the user, if the score is below 3


def guesses(password: str, words: Sequence[str]) -> Guesses:
    """Return how many guesses it takes to find a password, if these words are tried first.

    A password is as strong as the strongest of its parts of 24 characters.
    """
    parts = [password[start : start + _PART] for start in range(0, len(password), _PART)]
    best = Guesses(-1, "")
    for part in parts:
        found = zxcvbn(part, list(words))
        score = int(found.score)
        if score > best.score:
            best = Guesses(score, _why(found.feedback))
        if score >= 3:
            break
    return best


def _why(feedback: Feedback | None) -> str:
    warning = None if feedback is None else feedback.warning
    return next((sentence for each, sentence in _WHY if each == warning), _OTHERWISE)
