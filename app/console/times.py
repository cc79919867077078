"""Times as operators read and write them, in the time zone of this machine."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from types import MappingProxyType

from app.console.errors import WrongCall

_UNITS = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400})
_DURATION = re.compile(r"(\d{1,6})([smhdw])")


def shown(seconds: float | None) -> str:
    """Return a time, such as 2026-11-30 09:46; an empty string for None."""
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def shown_exactly(seconds: float) -> str:
    """Return a time with its seconds."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def in_words(seconds: int) -> str:
    """Return a duration, such as 1 hour."""
    for unit, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = seconds // unit
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} seconds"


def read_duration(flag: str, text: str) -> float:
    """Return seconds for a text such as 7d; raises WrongCall."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise WrongCall(f"{flag} {text}: write a duration such as 30m, 12h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def read_time(flag: str, text: str, *, end_of_day: bool = False) -> float:
    """Return the time that a text means: 2026-11-01, 2026-11-01T12:30, or 7d for 7 days ago.

    `today` and `yesterday` are days. With `end_of_day` a day alone means its end. Raises WrongCall.
    """
    if _DURATION.fullmatch(text):
        return time.time() - read_duration(flag, text)
    if text in ("today", "yesterday"):
        text = (
            datetime.now().astimezone().date() - timedelta(days=text == "yesterday")
        ).isoformat()
    try:
        found = datetime.fromisoformat(text)  # without a zone, in that of this machine
    except ValueError:
        raise WrongCall(
            f"{flag} {text}: write a day such as 2026-11-01, today or yesterday, a time such as "
            "2026-11-01T12:30, or a duration such as 7d"
        ) from None
    if end_of_day and len(text) == len("2026-11-01"):
        found += timedelta(days=1)
    return found.astimezone().timestamp()
