"""Which passwords are accepted: their length, and what makes them too easy to guess."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from app.accounts.guessable_words import Word, made_of, parts
from app.accounts.password_strength import guesses
from app.accounts.passwords import MAX_PASSWORD_LENGTH, InvalidAccount, normal_password
from app.settings import Settings

#: NIST SP 800-63B-4 asks for so many characters where the password is the only factor.
GOOD_LENGTH = 15
_MIN_SCORE = 2  # of zxcvbn: a million guesses
# bounds of what a request tells of its user; zxcvbn looks for each word in the password
_MAX_NAME = 254  # characters: the longest address
_MAX_USER_WORDS = 50
_ADVICE = "A few words that do not belong together are hard to guess and easy to remember."
_PRAISE = MappingProxyType(
    {
        2: "This is hard enough to guess.",
        3: "This is hard to guess.",
        4: "This is very hard to guess.",
    }
)


class WeakPassword(InvalidAccount):
    """A password is too easy to guess; the message says why, and what would help."""


class Strength(msgspec.Struct, frozen=True):
    """What a user is told of a new password before they send the form."""

    allowed: bool
    score: int  # 0 to 4; 0 and 1 are refused
    sentence: str


class PasswordRules:
    """The rules of one site. Calls take a millisecond, at worst 45, so make them in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.min_length = settings.password_min_length
        self._site = _words_of_the_site(settings)
        guesses("a", ())  # reads the lists now, 30 ms that no user has to wait for

    def clean(self, password: str, *names: str | None) -> str:
        """Return a new password as it is hashed; raises InvalidAccount with a sentence.

        `names` are what others know of the user: the user name, the address.
        """
        clean = self.long_enough(password)
        if (why := self._weakness(clean, names)[1]) is not None:
            raise WeakPassword(f"{why} {_ADVICE}")
        return clean

    def long_enough(self, password: str) -> str:
        """Return a password as it is hashed; raises InvalidAccount for a wrong length."""
        clean = normal_password(password)
        if clean is None or len(clean) < self.min_length:
            raise InvalidAccount(
                f"A password has {self.min_length} to {MAX_PASSWORD_LENGTH} characters."
            )
        return clean

    def judge(self, password: str, *names: str | None) -> Strength:
        """Say how strong a password is, for the user who chooses it."""
        try:
            clean = self.long_enough(password)
        except InvalidAccount as error:
            return Strength(allowed=False, score=0, sentence=str(error))
        score, why = self._weakness(clean, names)
        if why is not None:
            return Strength(allowed=False, score=min(score, 1), sentence=f"{why} {_ADVICE}")
        if len(clean) >= GOOD_LENGTH:
            return Strength(allowed=True, score=score, sentence=_PRAISE[score])
        sentence = f"{_PRAISE[score]} {GOOD_LENGTH} characters or more are better."
        return Strength(allowed=True, score=min(score, 3), sentence=sentence)

    def _weakness(self, password: str, names: Sequence[str | None]) -> tuple[int, str | None]:
        """Return the score of a password, and why it is refused; None if it is not."""
        words = [*_words_of_the_user(names), *self._site]
        made = made_of(password, words)
        found = guesses(password, [word.text for word in words])
        if made is None and found.score < _MIN_SCORE:
            made = found.why
        return found.score, made


def _words_of_the_user(names: Sequence[str | None]) -> list[Word]:
    found: list[Word] = []
    for name in (each[:_MAX_NAME] for each in names if each):
        local, at, _ = name.partition("@")
        found += parts(local if at else name, "your address" if at else "your user name")
    return found[:_MAX_USER_WORDS]


def _words_of_the_site(settings: Settings) -> list[Word]:
    """Return the names of the site: of its hosts, and those that the operator lists."""
    hosts = [*settings.allowed_hosts, urlsplit(settings.public_url).hostname or ""]
    labels = [label for host in hosts for label in host.split(".")[:-1]]
    words = ["latchkey", *labels, *settings.password_words]
    return [word for each in words for word in parts(each, "a name of this site")]
