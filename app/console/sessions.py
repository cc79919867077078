"""The actions of `python -m app.sessions`."""

from __future__ import annotations

import time
from typing import Any

from app.console import screen, times
from app.console.errors import WrongCall
from app.console.program import Call
from app.console.session_views import SESSIONS, session_lines, session_row, user
from app.console.table import printable, table


def list_sessions(call: Call) -> None:
    """Show sessions, the last seen first."""
    given = call.given
    found = call.site.call(
        "sessions.list", user=given.user or "", seen_before=_seen_before(call), limit=given.limit
    )
    rows, total = found["sessions"], found["total"]
    cells = [session_row(row) for row in rows]
    call.show(found, lambda: table(SESSIONS, cells, screen.width()) if rows else ["no sessions"])
    if len(rows) < total and not given.json:
        screen.note(f"{len(rows):,} of {total:,} sessions; --limit shows more, at most 10000")


def show(call: Call) -> None:
    """Show one session."""
    found = call.site.call("sessions.show", id=call.given.id)
    call.show(found, lambda: session_lines(found["session"]))


def end(call: Call) -> None:
    """End the session of an id, or those that a flag names."""
    given = call.given
    which = [bool(given.id), bool(given.user), bool(given.stale), given.orphaned, given.all]
    if sum(which) != 1:
        raise WrongCall(
            "name one: the ID of a session, --user NAME, --stale DURATION, --orphaned, or --all"
        )
    if given.id:
        _end_one(call)
    elif given.user:
        _end_user(call)
    elif given.orphaned:
        _end_orphaned(call)
    else:
        _end_many(call)


def _end_one(call: Call) -> None:
    found = call.site.call("sessions.end", id=call.given.id)
    row = found["session"]
    call.show(found, lambda: [f"the session {row['id'][:12]} of {printable(user(row))} is ended"])


def _end_user(call: Call) -> None:
    name = call.given.user
    total = call.site.call("sessions.list", user=name, limit=1)["total"]
    screen.confirm(f"End {_count(total)} of {printable(name)}?", yes=call.given.yes or total < 2)
    found = call.site.call("sessions.end_user", name=name)
    call.show(found, lambda: [f"{_count(found['ended'])} of {printable(name)} ended"])


def _end_many(call: Call) -> None:
    seen_before = _seen_before(call)
    total = call.site.call("sessions.list", seen_before=seen_before, limit=1)["total"]
    whose = "of users and visitors" if call.given.all else f"not seen for {call.given.stale}"
    screen.confirm(f"End {_count(total)} {whose}?", yes=call.given.yes)
    ended = 0
    with screen.Progress("sessions", total) as progress:
        while count := call.site.call("sessions.end_many", seen_before=seen_before)["ended"]:
            ended += count
            progress.at(ended)
    call.show({"ended": ended}, lambda: [f"{_count(ended)} ended"])


def _end_orphaned(call: Call) -> None:
    ended = 0
    while count := call.site.call("sessions.end_many", orphaned=True)["ended"]:
        ended += count
    call.show({"ended": ended}, lambda: [f"{_count(ended)} ended"])


def stats(call: Call) -> None:
    """Show numbers."""
    found = call.site.call("sessions.stats")
    call.show(found, lambda: _stats_lines(found))


def _stats_lines(found: dict[str, Any]) -> list[str]:
    sign_ins = found["sign_ins"]
    lines = [
        f"accounts     {found['accounts']:,}, {found['disabled']:,} of them disabled",
        f"sessions     {found['sessions']:,}, {found['visitors']:,} of them of visitors",
        f"users        {found['users']:,} with a session",
        f"sign-ins     {sign_ins['hour']:,} in the last hour, {sign_ins['day']:,} in the last day",
        f"connections  {found['connections']:,}",
    ]
    for process in found["processes"]:
        number = "?" if process["number"] is None else process["number"]
        lines.append(f"  process {number}: {process['connections']:,}")
    return lines


def _seen_before(call: Call) -> float | None:
    stale = call.given.stale
    return None if stale is None else time.time() - times.read_duration("--stale", stale)


def _count(sessions: int) -> str:
    return f"{sessions:,} session{'' if sessions == 1 else 's'}"
