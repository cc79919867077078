"""Names that look like other names (Unicode Technical Standard 39).

The data are those of `confusable_homoglyphs`, which has no types; only this file reads them.
"""

from __future__ import annotations

import functools
import itertools
import math
import string
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
_MAX_SPELLINGS = 1024  # of one name in one script


def mixes_scripts(name: str) -> bool:
    """Return whether a name has letters of scripts that are not written together."""
    scripts = {str(categories.alias(letter)) for letter in name} - _ANY_SCRIPT
    return len(scripts) > 1 and not any(scripts <= combined for combined in _COMBINED_SCRIPTS)


def lookalikes(key: str) -> set[str]:
    """Return other keys that look like this key; each uses the letters of one script.

    They are its skeleton (UTS 39, 4) and its spellings in each script, with letters that look like
    those of the key, be they small or capital, since a name may be shown in any case: `kate` is
    like KATE in Cyrillic. An ASCII character looks only like itself: `rn` differs from `m` and `1`
    from `l`, because names of honest users have both.
    """
    found = {skeleton_of(key), _key_of(skeleton_of(key.upper()))}
    for script in _letters():
        choices = list(itertools.takewhile(bool, (_choices(letter, script) for letter in key)))
        if len(choices) < len(key):
            continue  # a letter has no choice
        while math.prod(map(len, choices)) > _MAX_SPELLINGS:
            most = max(map(len, choices))
            place = max(at for at, some in enumerate(choices) if len(some) == most)
            choices[place] = choices[place][:-1]  # without the least usual one
        spelt = map("".join, itertools.product(*choices))
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


def _key_of(text: str) -> str:
    return unicodedata.normalize("NFKC", text.casefold())


@functools.lru_cache(maxsize=20_000)
def _looks(letter: str) -> set[str]:
    """Return the skeletons of a letter of a key: as a small letter and as a capital."""
    looks = {skeleton_of(shown) for shown in (letter, letter.lower(), letter.upper())}
    looks.add(_prototypes().get(letter, letter))
    if "l" in looks and not letter.isascii():
        looks.add("I")  # it has the skeleton l
    return looks


@functools.lru_cache(maxsize=20_000)
def _choices(letter: str, script: str) -> list[str]:
    """Return what looks like a letter of a key in a script, the most usual first."""
    own = _ANY_SCRIPT | {script}
    letters = _letters()[script]
    found = {letter} if categories.alias(letter) in own else set()
    for look in _looks(letter):
        parts = [
            letters.get(part, set()) | ({_key_of(part)} if categories.alias(part) in own else set())
            for part in look
        ]
        if math.prod(map(len, parts)) <= _MAX_SPELLINGS:
            found.update(map("".join, itertools.product(*parts)))
    return sorted(found, key=lambda one: (not one.isascii(), one))


@functools.cache
def _letters() -> dict[str, dict[str, set[str]]]:
    """Return, for each script, the letters of keys that have a look."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    keys = {_key_of(letter) for letter in _prototypes()} | set(string.ascii_lowercase)
    for letter in keys:
        if len(letter) > 1 or letter != _key_of(letter):
            continue
        script = str(categories.alias(letter))
        if script not in _ANY_SCRIPT:
            for look in _looks(letter):
                found[script][look].add(letter)
    return found
