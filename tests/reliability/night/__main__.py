"""`python -m tests.reliability.night`: spend a night and print its table."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from pathlib import Path

from tests.reliability.night import table
from tests.reliability.night.clients import Clients, Tally
from tests.reliability.night.faults import FAULTS, REASON, Fault
from tests.reliability.night.site import Site
from tests.support import leftovers

_TRACEBACK = re.compile(r"^Traceback .*(?:\n .*)*\n.*", re.MULTILINE)
_CALM = 5.0  # seconds of work before and after each fault


async def night(folder: Path, faults: list[Fault], count: int, pause: float) -> list[Tally]:
    """Let clients work while one fault after the other happens; return what became of each."""
    async with Site(folder) as site:
        certificate = site.nginx.folder / "certificate.pem"
        urls = site.programs.urls
        async with Clients(site.nginx.url, urls, certificate, count, pause) as clients:
            await clients.begin()
            tallies = [await one(site, clients, fault) for fault in faults]
        for text in _TRACEBACK.findall(site.programs.logged()):
            if REASON not in text:  # of the bad release
                print(text, file=sys.stderr)
        return tallies


async def one(site: Site, clients: Clients, fault: Fault) -> Tally:
    """Let one fault happen while clients work, and check all of them."""
    await clients.work()
    await asyncio.sleep(_CALM)
    await fault.happen(site)
    await site.ready()
    await asyncio.sleep(_CALM)
    tally = await clients.check()
    print(table.row(fault, tally), flush=True)
    for line in (found := complaints(fault, tally)):
        print(f"  {line}", file=sys.stderr, flush=True)
    if found:
        print(evidence(site), file=sys.stderr, flush=True)
    return tally


def evidence(site: Site) -> str:
    """Return the latest lines of nginx about pages that failed."""
    failed = [line for line in site.nginx.log("access.log").splitlines() if '" 503 ' in line]
    errors = site.nginx.log("error.log").splitlines()
    return "\n".join((*failed[-10:], *errors[-10:]))


def complaints(fault: Fault, tally: Tally) -> list[str]:
    """Return what should not have happened, a sentence each."""
    return [
        *(f"lost: {what}" for what in tally.lost),
        *(f"stored though not asked for: {what}" for what in tally.extra),
        *(f"signed out: {what}" for what in tally.signed_out),
        *(f"failed: {n} × {what}" for what, n in fault.failed_otherwise(tally).items()),
    ]


def main() -> int:
    """Return 1 if something was lost, somebody was signed out, or another page failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.night", description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--pause", type=float, default=5.0, help="mean seconds between two actions")
    parser.add_argument("--only", default="", help="only faults whose names contain this")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    given = parser.parse_args()
    faults = [fault for fault in FAULTS if given.only in fault.name]
    leftovers.begin()
    with tempfile.TemporaryDirectory(prefix="latchkey-night-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL is another user
        tallies = asyncio.run(night(Path(folder), faults, given.clients, given.pause))
    rows = list(map(table.row, faults, tallies))
    print(f"\n{table.table(rows)}")
    if given.write:
        table.write(table.table(rows), given.clients)
    return int(any(map(complaints, faults, tallies)))


if __name__ == "__main__":
    sys.exit(main())
