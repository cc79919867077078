"""Sessions as lines of text."""

from __future__ import annotations

from typing import Any

from app.console import times
from app.console.table import Column, printable

SHORT_ID = 12  # characters; few enough to read aloud, enough for one session only
SESSIONS = (
    Column("ID", SHORT_ID),
    Column("USER", 8),
    Column("SEEN", 16),
    Column("OPEN", 4),
    Column("ADDRESS", 9),
    Column("BROWSER", 8, droppable=True),
    Column("SIGNED IN", 16, droppable=True),
    Column("METHOD", 8, droppable=True),
)


def session_row(row: dict[str, Any]) -> list[str]:
    """Return the cells of a session in a list."""
    return [
        row["id"][:SHORT_ID],
        user(row),
        times.shown(row["seen"]),
        str(len(row["connections"])),
        row["address"],
        browser(row),
        times.shown(row["created"]),
        row["method"],
    ]


def session_lines(row: dict[str, Any]) -> list[str]:
    """Return the page of one session."""
    return [
        f"id           {row['id']}",
        f"user         {printable(user(row))}",
        f"user id      {printable(row['user_id'] or '-')}",
        f"address      {printable(row['address'])}",
        f"browser      {printable(browser(row))}",
        f"signed in    {times.shown(row['created'])}"
        + (f" by {printable(row['method'])}" if row["method"] else ""),
        f"seen         {times.shown(row['seen'])}",
        f"expires      {times.shown(row['expires']) or 'never'}",
        f"connections  {', '.join(row['connections']) or 'none'}",
    ]


def user(row: dict[str, Any]) -> str:
    """Return the name of the user, with that of an administrator who acts as them."""
    if row["user"] is None:
        return "(visitor)"
    return f"{row['user']} (by {row['actor']})" if row["actor"] else str(row["user"])


def browser(row: dict[str, Any]) -> str:
    """Return browser and system, if they are known."""
    return ", ".join(filter(None, (row["browser"], row["system"]))) or "-"
