"""The table of a night, as docs/reliability.md has it."""

from __future__ import annotations

import re

from tests.reliability.night.clients import Tally
from tests.reliability.night.faults import Fault
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_HEAD = (
    "| while | pages that may fail | pages | failed | events | without ack | lost | signed out "
    "| longest wait |",
    "|---|---|--:|---|--:|--:|--:|--:|--:|",
)


def row(fault: Fault, tally: Tally) -> str:
    """Return the row of one fault."""
    failures = ", ".join(
        f"{number} × {what}"
        for what, number in sorted(tally.failed.items())
        if not what.startswith("event")
    )
    unacknowledged = sum(n for what, n in tally.failed.items() if what.startswith("event"))
    cells = (
        *(fault.name, fault.because, f"{tally.pages:,}", failures or "0"),
        *(f"{tally.events:,}", str(unacknowledged)),
        *(str(len(tally.lost)), str(len(tally.signed_out)), f"{tally.longest:.1f} s"),
    )
    return f"| {' | '.join(cells)} |"


def table(rows: list[str]) -> str:
    return "\n".join((*_HEAD, *rows))


def write(printed: str, clients: int) -> None:
    """Put the table into the page, between its two marks."""
    text = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- night -->\n", "<!-- end of night -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new, times = pattern.subn(lambda _: f"{begin}{clients} clients:\n\n{printed}\n{end}", text)
    assert times == 1, f"{PAGE.name} has no place for the table"
    PAGE.write_text(new, encoding="utf-8")
