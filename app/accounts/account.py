"""An account as others see it, and its id."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_PREFIX = "u:"  # `clean_name` refuses names with a word and a colon in front
_ID_BYTES = 16
_ID = re.compile(rf"{_PREFIX}[0-9a-f]{{{2 * _ID_BYTES}}}")
_MAX_LENGTH = 1024  # characters of an issuer or a subject


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account. Refer to it by its `id` everywhere; the name is what people see."""

    #: Never changes, and never belongs to another account, even after this one is deleted. It is
    #: no secret. Accounts that are older than ids have the name as it was then.
    id: str
    #: As it is stored and shown; one of several spellings that name the account.
    name: str
    created: float  # seconds since 1970
    #: Whether `on_account_created` has run; not yet for accounts that the command line made.
    announced: bool = True
    has_password: bool = True
    #: When an operator has disabled it, in seconds since 1970; None: it may sign in.
    disabled: float | None = None
    #: The address that its user has confirmed; None if there is none.
    email: str | None = None
    #: What it may do, as they were when it was read; `services.roles` has them as they are.
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Identity:
    """Who somebody is at another issuer, such as an OpenID provider; it names one account."""

    issuer: str  # for OpenID Connect the claim `iss`
    subject: str  # the claim `sub`, not a name or an address: those may pass to other people

    def __post_init__(self) -> None:
        """Raises ValueError for a part that no database can keep or that is empty."""
        for part in (self.issuer, self.subject):
            if not 0 < len(part) <= _MAX_LENGTH or not is_storable(part):
                raise ValueError(
                    "an Identity needs an issuer and a subject, each of 1 to "
                    f"{_MAX_LENGTH} characters without NUL"
                )


def is_storable(text: str) -> bool:
    """Return whether both databases take this string: PostgreSQL refuses a query with a NUL."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def new_account_id() -> str:
    """Return an id that no account has or had: 128 random bits."""
    return _PREFIX + secrets.token_hex(_ID_BYTES)


def is_account_id(text: str) -> bool:
    """Return whether `new_account_id` may have made this, now or for an account that is gone."""
    return _ID.fullmatch(text) is not None
