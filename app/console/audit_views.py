"""Events of the audit trail as lines of text."""

from __future__ import annotations

from typing import Any

from app.console import times
from app.console.table import Column

EVENTS = (
    Column("TIME", 19),
    Column("EVENT", 8),
    Column("USER", 8),
    Column("BY", 4),
    Column("ADDRESS", 9),
    Column("DETAILS", 10),
)


def event_row(row: dict[str, Any]) -> list[str]:
    """Return the cells of an event."""
    return [
        times.shown_exactly(row["time"]),
        row["event"],
        row["user"],
        row["actor"] or "",
        row["address"],
        " ".join(filter(None, (row["method"], row["reason"]))),
    ]
