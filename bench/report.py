"""Reports of a run: tables in Markdown, and JSON for programs."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from os import cpu_count, getloadavg
from pathlib import Path
from typing import Any

from bench.contestants import bun_program
from bench.process import StartError
from bench.run import Result

PACKAGES = ("tornado", "python-socketio", "python-engineio", "uvicorn", "uvloop", "msgspec")
EXTRA = {
    "ops_per_s": ("op/s", ",.0f"),
    "redis_us": ("µs of Redis", ".1f"),
    "p50_ms": ("p50 ms", ".2f"),
    "p99_ms": ("p99 ms", ".2f"),
    "few_us": ("µs among few", ".0f"),
    "many_us": ("µs among many", ".0f"),
    "closed": ("closed", ",.0f"),
    "mb": ("MB of the process", ",.0f"),
    "seconds": ("s to close all", ".1f"),
    "commands_per_s": ("commands/s", ",.1f"),
    "records_per_s": ("records read/s", ",.0f"),
    "recipe_per_s": ("commands/s of the recipe", ",.0f"),
}


def figure(value: float) -> str:
    """Format a number with three significant digits."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def table(result: Result) -> str:
    """Return a Markdown table of one row: a line for each contestant, medians over the rounds."""
    row = result.row
    extra = [key for key in EXTRA if any(key in r[0] for r in result.rounds.values())]
    head = ["", f"{row.unit} (lowest to highest)".strip(), *(EXTRA[key][0] for key in extra)]
    lines = [f"### {row.title}", "", _line(head), _line(["---", *("--:" for _ in head[1:])])]
    for name in (name for name in row.contestants if name in result.rounds):
        values = [figures[row.figure] for figures in result.rounds[name]]
        spread = f"{figure(result.median(name))} ({figure(min(values))} to {figure(max(values))})"
        cells = [format(result.median(name, key), EXTRA[key][1]) for key in extra]
        lines.append(_line([name, spread, *cells]))
    missing = {**result.absent, **result.failed}
    lines += [f"\n{name} has no figure: {why}" for name, why in missing.items()]
    return "\n".join(lines)


def summary(results: Sequence[Result]) -> str:
    """Return a Markdown table of the targets, and whether each was met."""
    lines = [
        _line(["work", "", "reached", "at most", ""]),
        _line(["---", "---", "--:", "--:", "---"]),
    ]
    for result in results:
        missed = result.missed()
        for target in result.row.targets:
            reached = result.reached(target)
            if reached is None:
                continue
            compared = f"{target.who} / {target.against}" if target.against else target.who
            unit = " ×" if target.against else f" {result.row.unit}".rstrip()
            verdict = "**missed**" if target in missed else "met"
            cells = [f"{figure(reached)}{unit}", f"{target.at_most:g}{unit}", verdict]
            lines.append(_line([result.row.title, compared, *cells]))
    return "\n".join(lines) if len(lines) > 2 else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_json(results: Sequence[Result], options: dict[str, Any]) -> dict[str, Any]:
    """Return all figures, with the machine and the versions that they were measured on."""
    return {
        "options": options,
        "machine": machine(),
        "rows": [
            {
                "key": result.row.key,
                "title": result.row.title,
                "figure": result.row.figure,
                "unit": result.row.unit,
                "medians": {name: result.median(name) for name in result.rounds},
                "rounds": result.rounds,
                "targets": [
                    {**vars(target), "reached": result.reached(target)}
                    for target in result.row.targets
                ],
                "absent": result.absent,
                "failed": result.failed,
            }
            for result in results
        ],
    }


def machine() -> dict[str, Any]:
    """Return processor, system and versions, without names and paths of this machine."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": cpu_count(),
        "load": getloadavg()[0],  # at the end, the bench's own load included
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "node": _printed_version("node"),
        "bun": _bun_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _printed_version(program: str) -> str | None:
    try:
        done = subprocess.run((program, "--version"), capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _bun_version() -> str | None:
    try:
        return _printed_version(str(bun_program()))
    except StartError:
        return None
