"""The command line: `python -m bench --help`."""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.contestants import LINEUP, Servers
from bench.measures import FULL, QUICK
from bench.plot import svg
from bench.report import as_json, summary, table
from bench.rows import ROWS
from bench.run import Result, run_row


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(
                f"no {', '.join(sorted(unknown))} here; there are {', '.join(known)}"
            )
        return names

    return parse


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    keys = [row.key for row in ROWS]
    parser.description = "Measure Latchkey beside other ways to share a session, on this machine."
    parser.add_argument("--quick", action="store_true", help="under a minute; not to be quoted")
    parser.add_argument(
        "--rounds", type=int, help="interleaved rounds (default: 5; with --quick 2)"
    )
    parser.add_argument("--rows", type=_names(keys), default=keys, help=f"of {','.join(keys)}")
    parser.add_argument(
        "--servers", type=_names([*LINEUP]), default=[*LINEUP], help=f"of {','.join(LINEUP)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="write an SVG of the medians there"
    )
    return parser


def raise_descriptor_limit() -> None:
    """Allow as many open files as the system permits; the servers inherit it."""
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))


def exit_status(results: Sequence[Result], *, judge_targets: bool) -> int:
    """Return 1 if a server broke under load or a target was missed, else 0.

    The rounds of `--quick` are too short to judge targets by.
    """
    missed = judge_targets and any(result.missed() for result in results)
    return 1 if missed or any(result.failed for result in results) else 0


def main() -> int:
    """Run the rows, print the results, and return the exit status."""
    options = arguments().parse_args()
    rounds = options.rounds or (2 if options.quick else 5)
    sizes = QUICK if options.quick else FULL
    raise_descriptor_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped
    if os.getloadavg()[0] > (os.cpu_count() or 1) / 2:
        _progress("This machine is busy with something else; the figures will be too high.")
    began = time.monotonic()
    results: list[Result] = []
    with Servers() as servers:
        for row in (row for row in ROWS if row.key in options.rows):
            names = [name for name in row.contestants if name in options.servers]
            if not names:
                continue
            times = 1 if row.once or (row.fresh and options.quick) else rounds
            results.append(run_row(row, names, servers, times, sizes, _progress))
            print(table(results[-1]), end="\n\n", flush=True)
    print(summary(results))
    print(f"\n{rounds} rounds, {time.monotonic() - began:.0f} s")
    found = as_json(results, {"quick": options.quick, "rounds": rounds})
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.plot:
        options.plot.write_text(svg(results))
    return exit_status(results, judge_targets=not options.quick)


def _progress(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
