"""The rules for names and passwords, and the hashes of passwords."""

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

# lengths are in characters (code points)
_MAX_NAME_LENGTH = 64
MAX_PASSWORD_LENGTH = 128
# A longer string is refused before it is normalised: that takes time that grows with the square of
# the length, and shortens a string to a third at most.
_MAX_EXPANSION = 4
# categories of characters without a shape of their own: control, format (bidirectional marks, zero
# width), unassigned, private use, surrogate, line and paragraph separator
_INVISIBLE = frozenset(("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"))
# invisible characters of other categories: Unicode's Default_Ignorable_Code_Point (fillers,
# joiners, variation selectors), and the empty Braille pattern
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0000-\U000e0fff]"
)
# `oidc:ann`, `https://id.example.com/ann` or the id of an account
_ISSUER = re.compile(r"[^\W\d_][\w+.-]*:|.*//", re.DOTALL)
#: Tells a user, or an administrator, that an account was deleted meanwhile.
DELETED = "This account does not exist any more."


class InvalidAccount(ValueError):
    """A name or password is not allowed; the message is for the user."""


class NameTaken(InvalidAccount):
    """Another account has this name."""


class AccountInUse(InvalidAccount):
    """An account cannot be deleted, because rows of a fork's table refer to it."""


class IdentityTaken(InvalidAccount):
    """Another account has this identity of another issuer."""


def _normal(text: str, longest: int) -> str | None:
    """Return a string in NFKC; None if it is too long or holds half a character.

    Half a character is a lone surrogate, or U+FFFD in a field that was repaired.
    """
    if len(text) > longest * _MAX_EXPANSION:
        return None
    normal = unicodedata.normalize("NFKC", text)
    if len(normal) > longest or any(
        "\ud800" <= letter <= "\udfff" or letter == "\ufffd" for letter in normal
    ):
        return None
    return normal


def clean_name(name: str) -> str:
    """Return a name as it is stored and shown; raises InvalidAccount."""
    clean = _normal(name, _MAX_NAME_LENGTH)
    if not clean:
        raise InvalidAccount(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    if clean != clean.strip():
        raise InvalidAccount("A name neither begins nor ends with a space.")
    if _BLANK.search(clean) or any(unicodedata.category(letter) in _INVISIBLE for letter in clean):
        raise InvalidAccount("A name has no control characters and no invisible ones.")
    if mixes_scripts(clean):
        raise InvalidAccount("Use the letters of one alphabet in a name, not of several.")
    refuse_issuer(clean)
    return clean


def refuse_long_name(name: str) -> None:
    """Raise InvalidAccount for a name that is too long for any account."""
    if len(name) > _MAX_NAME_LENGTH * _MAX_EXPANSION:
        raise InvalidAccount(f"A name has 1 to {_MAX_NAME_LENGTH} characters.")


def refuse_issuer(name: str) -> None:
    """Raise InvalidAccount for a name that could be another issuer's, or the id of an account."""
    if _ISSUER.match(name):
        raise InvalidAccount(
            "A name has no // and does not begin with a word and a colon, because it would look "
            "like a web address or a name of another site."
        )


def account_key(name: str) -> str:
    """Return the key that all spellings of a name share; an empty string if no account can have it.

    It is the name in Unicode's NFKC with case folding; any white space counts as one space.
    """
    normal = _normal(name, _MAX_NAME_LENGTH)
    if normal is None or "\0" in normal:  # PostgreSQL refuses a query with a NUL
        return ""
    return " ".join(unicodedata.normalize("NFKC", normal.casefold()).split())


def normal_password(password: str) -> str | None:
    """Return a password as it is hashed (NIST SP 800-63B: NFKC); None if no account can have it."""
    return _normal(password, MAX_PASSWORD_LENGTH)


def password_hasher() -> PasswordHasher:
    """Return what hashes passwords with the current parameters."""
    return PasswordHasher(TIME_COST, MEMORY_COST, parallelism=1)


class Passwords:
    """Hashes with argon2id; a call takes about 20 ms of a core, so make it in a thread."""

    def __init__(self) -> None:
        self._hasher = password_hasher()
        self._dummy = self._hasher.hash(secrets.token_hex())

    def hash(self, password: str) -> str:
        """Return the hash of a clean password, with its salt and parameters."""
        return self._hasher.hash(password)

    def verify(self, stored: str | None, password: str) -> bool:
        """Whether `stored` is the hash of the password.

        `stored` is None for an unknown name; the call then takes as long as for a wrong password.
        """
        try:
            self._hasher.verify(self._dummy if stored is None else stored, password)
        except VerifyMismatchError:
            return False
        except InvalidHashError:
            log.error("an account has a password hash that is none of argon2's")
            return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether this hash was computed with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(stored)
