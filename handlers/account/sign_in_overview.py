"""The user's ways of signing in: which there are, since when, and when each was last used."""

from collections.abc import Sequence

import msgspec

from app.accounts import Account, AuditEvent

#: Audit events after which an account has the password that it has now.
_SETS_PASSWORD = frozenset({"registration", "password change", "password reset"})
_NAMES = (
    ("password", "Password"),
    ("totp", "Authenticator app"),
    ("recovery code", "Recovery codes"),
)


class Way(msgspec.Struct, frozen=True):
    """One way of signing in; times are seconds since 1970, None where unknown."""

    name: str
    set_up: bool
    since: int | None
    used: int | None


def ways(
    account: Account | None,
    totp_since: float | None,
    codes_left: int,
    events: Sequence[AuditEvent],
) -> list[Way]:
    """Return the stock ways and those of a fork; `events` are the audit events, latest first."""
    used = _last_used(events)
    has_password = account is not None and account.has_password
    since = (event.time for event in events if event.event in _SETS_PASSWORD)
    known = {
        "password": (has_password, next(since, None) if has_password else None),
        "totp": (totp_since is not None, totp_since),
        "recovery code": (codes_left > 0, None),
    }
    stock = [
        Way(name, known[key][0], _seconds(known[key][1]), _seconds(used.pop(key, None)))
        for key, name in _NAMES
    ]
    return [*stock, *(Way(name, True, None, _seconds(time)) for name, time in used.items())]


def _last_used(events: Sequence[AuditEvent]) -> dict[str, float]:
    """Return when each way was last used; "password+totp" are two."""
    used: dict[str, float] = {}
    for event in events:
        if event.event in ("sign-in", "reauthentication") and not event.actor:
            for way in filter(None, event.method.split("+")):
                used.setdefault(way, event.time)
    return used


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)
