"""What the commands of the control socket on accounts and sessions take."""

from __future__ import annotations

from typing import Annotated

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    """No arguments."""


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """An account, by name or by id."""

    name: str


class ListAccounts(msgspec.Struct, forbid_unknown_fields=True):
    """A page of the list of accounts."""

    search: str = ""
    role: str = ""
    disabled: bool | None = None
    after: str = ""  # the last name of the page before
    limit: Limit = 100
    count: bool = True  # whether to tell how many there are in all


class Rename(msgspec.Struct, forbid_unknown_fields=True):
    """An account and its new name."""

    name: str
    new_name: str


class ChangeRoles(msgspec.Struct, forbid_unknown_fields=True):
    """Roles that an account gets and loses."""

    name: str
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


class Audit(msgspec.Struct, forbid_unknown_fields=True):
    """Which events of the audit trail."""

    name: str = ""
    by: str = ""  # the account of an actor
    since: float = 0.0  # seconds since 1970
    until: float | None = None
    events: tuple[str, ...] = ()
    limit: Limit = 100
    before: tuple[float, int] | None = None


class ListSessions(msgspec.Struct, forbid_unknown_fields=True):
    """Which sessions."""

    user: str = ""
    seen_before: float | None = None
    limit: Limit = 100


class SessionId(msgspec.Struct, forbid_unknown_fields=True):
    """A session, by its public id or the beginning of that."""

    id: str


class EndMany(msgspec.Struct, forbid_unknown_fields=True):
    """All sessions, those that were last seen before a time, or those without an account."""

    seen_before: float | None = None
    orphaned: bool = False
