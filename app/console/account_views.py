"""Accounts as lines of text."""

from __future__ import annotations

from typing import Any

from app.console import times
from app.console.audit_views import EVENTS, event_row
from app.console.session_views import SESSIONS, session_row
from app.console.table import Column, printable, table

ACCOUNTS = (
    Column("NAME", 12),
    Column("STATE", 8),
    Column("ROLES", 6),
    Column("CREATED", 16, droppable=True),
    Column("EMAIL", 10, droppable=True),
    Column("ID", 34, droppable=True),
)


def account_row(row: dict[str, Any]) -> list[str]:
    """Return the cells of an account in the list."""
    return [
        row["name"],
        _state(row),
        ",".join(row["roles"]),
        times.shown(row["created"]),
        row["email"] or "",
        row["id"],
    ]


def account_lines(found: dict[str, Any], width: int | None) -> list[str]:
    """Return the page of one account."""
    account, sessions = found["account"], found["sessions"]
    disabled = account["disabled"]
    lines = [
        f"name      {printable(account['name'])}",
        f"id        {printable(account['id'])}",
        f"state     {_state(account)}" + (f" since {times.shown(disabled)}" if disabled else ""),
        f"roles     {', '.join(account['roles']) or 'none'}",
        f"created   {times.shown(account['created'])}",
        f"email     {printable(account['email'] or 'none confirmed')}",
        f"password  {'yes' if account['has_password'] else 'none'}",
        *_sign_in_lines(found.get("sign_in")),
        "",
    ]
    count = len(sessions)
    lines.append(f"{count} session{'' if count == 1 else 's'}")
    if sessions:
        lines += table(SESSIONS, [session_row(row) for row in sessions], width)
    lines += ["", "latest events"]
    return lines + table(EVENTS, [event_row(row) for row in found["audit"]], width)


def link_lines(found: dict[str, Any], state: str) -> list[str]:
    """Return what to do with a one-time link."""
    link, name = found["link"], printable(found["account"]["name"])
    lines = [
        f"{name} {state}.",
        f"Give this link to {name} alone. It works once, for {times.in_words(found['lifetime'])}:",
        link,
    ]
    if "://" not in link:
        lines.append(
            "Put the address of the site in front of it; with --public-url it is printed whole."
        )
    return lines


def _sign_in_lines(sign_in: dict[str, Any] | None) -> list[str]:
    """Return a line about two-step sign-in; an older process tells nothing of it."""
    if sign_in is None:
        return []
    left = sign_in["recovery_codes_left"]
    codes = f"{left or 'no'} recovery code{'' if left == 1 else 's'} left"
    return [f"two-step  {'on' if sign_in['two_step'] else 'off'}, {codes}"]


def _state(row: dict[str, Any]) -> str:
    return "disabled" if row["disabled"] is not None else "active"
