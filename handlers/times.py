"""Times on pages, in UTC; `static/local_times.js` writes them in the time zone of the browser."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """Return a time as the attribute `datetime` of an element has it."""
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def when(seconds: float) -> str:
    """Return a time in words: "2026-03-01 12:00 UTC"."""
    return f"{datetime.fromtimestamp(int(seconds), UTC):%Y-%m-%d %H:%M} UTC"
