"""Names that look like other names (Unicode Technical Standard 39).

The data are those of `confusable_homoglyphs`, which has no types; only this file reads them.
"""

from __future__ import annotations

import functools
import itertools
import math
import unicodedata
from collections import defaultdict

from confusable_homoglyphs import categories

_ANY_SCRIPT = frozenset(("COMMON", "INHERITED"))  # digits, spaces, punctuation, accents
#: Scripts that are written together, each with Latin: "highly restrictive" of UTS 39, 5.2.
_COMBINED_SCRIPTS = (
    frozenset(("LATIN", "HAN", "HIRAGANA", "KATAKANA")),
    frozenset(("LATIN", "HAN", "BOPOMOFO")),
    frozenset(("LATIN", "HAN", "HANGUL")),
)
_MAX_SPELLINGS = 256  # of one name in one script


def mixes_scripts(name: str) -> bool:
    """Return whether a name has letters of scripts that are not written together."""
    scripts = {str(categories.alias(letter)) for letter in name} - _ANY_SCRIPT
    return len(scripts) > 1 and not any(scripts <= combined for combined in _COMBINED_SCRIPTS)


def lookalikes(key: str) -> set[str]:
    """Return other keys that look like this key; each uses the letters of one script.

    They are its skeleton (UTS 39, 4) and the spellings of the skeleton in each script. An ASCII
    character looks only like itself: `rn` differs from `m` and `1` from `l`, because names of
    honest users have both.
    """
    skeleton = skeleton_of(key)
    found = {skeleton}
    for script, letters in _spellings().items():
        own = _ANY_SCRIPT | {script}
        choices = [
            letters.get(letter) or [letter][: categories.alias(letter) in own]
            for letter in skeleton
        ]
        if math.prod(map(len, choices)) > _MAX_SPELLINGS:
            choices = [some[:1] for some in choices]
        spelt = map("".join, itertools.product(*choices))  # none if a letter has no choice
        found.update(unicodedata.normalize("NFC", text) for text in spelt)
    return found - {key}


def skeleton_of(key: str) -> str:
    """Return what all keys share that look alike (UTS 39, 4)."""
    letters = unicodedata.normalize("NFD", key)
    prototypes = _prototypes()
    return unicodedata.normalize("NFC", "".join(prototypes.get(one, one) for one in letters))


@functools.cache
def _prototypes() -> dict[str, str]:
    """Return the prototype of each letter that is not ASCII: the letter that it looks like.

    The data list both directions. The prototype of a letter is its only entry; of two letters
    that list only each other, it is the one with the lower code point.
    """
    from confusable_homoglyphs.confusables import confusables_data  # 6 MB

    found: dict[str, str] = {}
    for letter, entries in confusables_data.items():
        if letter.isascii() or len(letter) > 1 or len(entries) > 1:
            continue
        other = str(entries[0]["c"]).strip("\u200e")
        mutual = len(confusables_data.get(other, ())) == 1 and not other.isascii()
        found[letter] = min(letter, other) if mutual else other
    return found


@functools.cache
def _spellings() -> dict[str, dict[str, list[str]]]:
    """Return, for each script, the lower-case letters of it that look like a letter."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for letter, prototype in sorted(_prototypes().items()):  # the usual letters come first
        script = str(categories.alias(letter))
        if letter == unicodedata.normalize("NFKC", letter.casefold()) and script not in _ANY_SCRIPT:
            found[script][prototype].append(letter)
    for script, letters in found.items():
        for prototype, spelt in letters.items():
            if categories.alias(prototype[0]) == script:
                spelt.insert(0, prototype)
    return found
