"""The names of the events that the audit trail has."""

from __future__ import annotations

import difflib
from types import MappingProxyType

EVENT_NAMES = (
    *("registration", "sign-in", "reauthentication", "failure", "end"),
    *("password change", "password reset", "reset link", "recovery codes", "address"),
    *("two-step sign-in on", "two-step sign-in off", "trusted devices forgotten"),
    *("data export", "disable", "enable", "rename", "role change", "session end", "deletion"),
)
#: What people call some of them.
_OTHER_NAMES = MappingProxyType(
    {
        "login": "sign-in",
        "signin": "sign-in",
        "sign in": "sign-in",
        "logout": "end",
        "sign-out": "end",
        "delete": "deletion",
        "register": "registration",
    }
)


def unknown_event(name: str) -> str:
    """Return a sentence about a name that no event has."""
    near = difflib.get_close_matches(name.lower(), EVENT_NAMES, 1)
    meant = _OTHER_NAMES.get(name.lower()) or (near[0] if near else "")
    hint = f"; did you mean {meant}?" if meant else "."
    return f"no event has the name {name[:100]!r}{hint} The names are: {', '.join(EVENT_NAMES)}"
