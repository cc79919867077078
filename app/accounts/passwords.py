"""What names and passwords people may choose, and how passwords are hashed."""

from __future__ import annotations

import logging
import re
import secrets
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from app.accounts.lookalikes import mixes_scripts

log = logging.getLogger("latchkey.accounts")

# OWASP Password Storage Cheat Sheet: 19 MiB, 2 passes, 1 lane
MEMORY_COST = 19 * 1024  # KiB
TIME_COST = 2

_LONGEST_NAME = 64  # characters (code points), as all lengths here
_SHORTEST_PASSWORD, _LONGEST_PASSWORD = 8, 128
# normalising takes time that grows with the square of the length, and shortens to a third at most
_BEFORE_NORMALISING = 4
# control, format (bidirectional marks, zero width), surrogate, line and paragraph separator
# private use and unassigned ones look like anything, or like nothing
_UNSEEN = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
# seen by nobody though their category says otherwise: Unicode's Default_Ignorable_Code_Point
# (fillers, joiners, variation selectors), and the empty Braille pattern
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)


class InvalidAccount(ValueError):
    """A name or password that cannot be had; the text is for the person who chose it."""


class NameTaken(InvalidAccount):
    """Somebody has this name."""


def _normal(text: str, longest: int) -> str | None:
    """Return the text in NFKC; None if it is too long or holds half a character.

    Half a character arrives as a lone surrogate, or as U+FFFD where a field was repaired.
    """
    if len(text) > longest * _BEFORE_NORMALISING:
        return None
    normal = unicodedata.normalize("NFKC", text)
    if len(normal) > longest or any(
        "\ud800" <= letter <= "\udfff" or letter == "\ufffd" for letter in normal
    ):
        return None
    return normal


def clean_name(name: str) -> str:
    """Return the spelling under which a name is stored and shown; raises InvalidAccount."""
    clean = _normal(name, _LONGEST_NAME)
    if not clean:
        raise InvalidAccount(f"A name has 1 to {_LONGEST_NAME} characters.")
    if clean != clean.strip():
        raise InvalidAccount("A name neither begins nor ends with a space.")
    if _BLANK.search(clean) or any(unicodedata.category(letter) in _UNSEEN for letter in clean):
        raise InvalidAccount("A name has no control characters and no invisible ones.")
    if mixes_scripts(clean):
        raise InvalidAccount("Use the letters of one alphabet in a name, not of several.")
    return clean


def account_key(name: str) -> str:
    """Return what all spellings of a name share; an empty text for what is nobody's name.

    Unicode's NFKC with case folding; any space counts as one space.
    """
    normal = _normal(name, _LONGEST_NAME)
    if normal is None or "\0" in normal:  # which PostgreSQL would not even look for
        return ""
    return " ".join(unicodedata.normalize("NFKC", normal.casefold()).split())


def clean_password(password: str) -> str:
    """Return what is hashed of a password (NIST SP 800-63B: NFKC); raises InvalidAccount."""
    clean = _normal(password, _LONGEST_PASSWORD)
    if clean is None or len(clean) < _SHORTEST_PASSWORD:
        raise InvalidAccount(
            f"A password has {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters."
        )
    return clean


class Passwords:
    """Hashes with argon2id; every method takes some 20 ms of a core and belongs in a thread."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(TIME_COST, MEMORY_COST, parallelism=1)
        self._nobody = self._hasher.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        """Return the hash of a clean password, with its salt and parameters."""
        return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether this hash is that of the password.

        None, an unknown name's hash, takes as long as a wrong password does.
        """
        try:
            self._hasher.verify(self._nobody if stored is None else stored, password)
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            log.error("an account has a password hash that is none of argon2's")
            return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether this hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)
