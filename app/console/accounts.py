"""The actions of `python -m app.accounts`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from app.console import screen, times
from app.console.account_views import ACCOUNTS, account_lines, account_row, link_lines
from app.console.audit_views import EVENTS, event_row
from app.console.errors import WrongCall
from app.console.program import Call
from app.console.table import printable, table

#: Stands before a role that is to be removed; argparse takes a "-" for that of a flag.
MINUS = "\N{MINUS SIGN}"
_PAGE = 1000  # rows that one call of the site returns


def list_accounts(call: Call) -> None:
    """Show the accounts that match, by name."""
    given = call.given
    which = {
        "search": given.search or "",
        "role": given.role or "",
        "disabled": True if given.disabled else None,
    }
    found: dict[str, Any] = {"accounts": [], "total": None, "after": given.after or ""}
    for page in _account_pages(call, which, given.after or "", given.limit):
        found["accounts"] += page["accounts"]
        found["after"] = page["after"]
        found["total"] = page["total"] if found["total"] is None else found["total"]
    rows = found["accounts"]
    cells = [account_row(row) for row in rows]
    call.show(found, lambda: table(ACCOUNTS, cells, screen.width()) if rows else ["no accounts"])
    if found["after"] is not None and not given.json and len(rows) < found["total"]:
        screen.note(
            f"{len(rows):,} of {found['total']:,} accounts; more: --after {rows[-1]['name']!r}, "
            "or --limit 0 for all"
        )


def _account_pages(
    call: Call, which: dict[str, Any], after: str, limit: int
) -> Iterator[dict[str, Any]]:
    """Yield the pages of the list; a limit of 0 is none."""
    done, total = 0, None
    with screen.Progress("accounts", None) as progress:
        while True:
            size = min(_PAGE, limit - done) if limit else _PAGE
            page = call.site.call(
                "accounts.list", **which, after=after, limit=size, count=total is None
            )
            total = page["total"] if total is None else total
            progress.total = total
            yield page
            done += len(page["accounts"])
            progress.at(done)
            after = page["after"]
            if after is None or (limit and done >= limit):
                return


def show(call: Call) -> None:
    """Show one account with its sessions and its latest events."""
    found = call.site.call("accounts.show", name=call.given.name)
    call.show(found, lambda: account_lines(found, screen.width()))


def add_by_link(call: Call) -> None:
    """Make an account without a password, and print the link by which its user chooses one."""
    added = call.site.call("accounts.add", name=call.given.name)
    found = call.site.call("accounts.reset", name=added["account"]["id"])
    call.show(found, lambda: link_lines(found, "is made"))


def rename(call: Call) -> None:
    """Give an account another name."""
    found = call.site.call("accounts.rename", name=call.given.name, new_name=call.given.new_name)
    name = printable(found["account"]["name"])
    call.show(found, lambda: [f"{call.given.name} is {name} now, and has to sign in by that name"])


def disable(call: Call) -> None:
    """Refuse all sign-ins of an account and end its sessions."""
    found = call.site.call("accounts.disable", name=call.given.name)
    name, ended = found["account"]["name"], found["ended"]
    call.show(found, lambda: [f"{name} is disabled, and {_ended(ended)}"])


def enable(call: Call) -> None:
    """Let a disabled account sign in again."""
    found = call.site.call("accounts.enable", name=call.given.name)
    name = found["account"]["name"]
    said = f"{name} can sign in again" if found["changed"] else f"{name} was not disabled"
    call.show(found, lambda: [said])


def role(call: Call) -> None:
    """Give an account roles, and take others from it."""
    changes = call.given.changes
    wrong = [change for change in changes if change[:1] not in ("+", MINUS)]
    if wrong:
        raise WrongCall(f"write +{wrong[0]} to add this role, or -{wrong[0]} to remove it")
    found = call.site.call(
        "accounts.role",
        name=call.given.name,
        add=[change[1:] for change in changes if change[0] == "+"],
        remove=[change[1:] for change in changes if change[0] == MINUS],
    )
    roles = ", ".join(found["account"]["roles"]) or "no roles"
    call.show(found, lambda: [f"{found['account']['name']} has {roles}"])


def reset(call: Call) -> None:
    """Print a link by which the user, once, chooses a new password."""
    found = call.site.call("accounts.reset", name=call.given.name)
    call.show(found, lambda: link_lines(found, "keeps the old password until the link is used"))


def two_step(call: Call) -> None:
    """Turn two-step sign-in of an account off."""
    if not call.given.off:
        raise WrongCall("add --off to turn two-step sign-in off; only the user can turn it on")
    found = call.site.call("accounts.two_step_off", name=call.given.name)
    name = printable(found["account"]["name"])
    off = f"two-step sign-in of {name} is off: the password is enough"
    call.show(found, lambda: [off if found["changed"] else f"{name} had no two-step sign-in"])


def delete(call: Call) -> None:
    """Delete an account, after a question."""
    found = call.site.call("accounts.show", name=call.given.name)
    account, count = found["account"], len(found["sessions"])
    screen.confirm(
        f"Delete the account {printable(account['name'])} and end its "
        f"{count} session{'' if count == 1 else 's'}?",
        yes=call.given.yes,
    )
    # by the id: the name may be another account's by now
    done = call.site.call("accounts.delete", name=account["id"])
    call.show(done, lambda: [f"{printable(account['name'])} is deleted"])


def export(call: Call) -> None:
    """Print what the site keeps about an account, as JSON."""
    call.given.json = True
    call.show(call.site.call("accounts.export", name=call.given.name), list)


def audit(call: Call) -> None:
    """Show events of the audit trail, the latest first."""
    given = call.given
    which = {
        "name": given.name or "",
        "by": given.by or "",
        "since": times.read_time("--since", given.since) if given.since else 0.0,
        "until": times.read_time("--until", given.until, end_of_day=True) if given.until else None,
        "events": given.event or [],
    }
    events, before = _events(call, which, given.limit)
    rows = [event_row(event) for event in events]
    call.show(
        {"events": events}, lambda: table(EVENTS, rows, screen.width()) if rows else ["no events"]
    )
    if before is not None and not given.json:
        screen.note(f"the latest {len(events):,} events; --limit 0 shows all")


def _events(call: Call, which: dict[str, Any], limit: int) -> tuple[list[Any], Any]:
    """Return the events, and where more may follow; None if these are all."""
    events: list[Any] = []
    before: Any = None
    with screen.Progress("events", None) as progress:
        while True:
            size = min(_PAGE, limit - len(events)) if limit else _PAGE
            page = call.site.call("accounts.audit", **which, limit=size, before=before)
            events += page["events"]
            before = page["before"]
            progress.at(len(events))
            if before is None or (limit and len(events) >= limit):
                return events, before


def _ended(count: int) -> str:
    return f"{count} session{' was' if count == 1 else 's were'} ended"
