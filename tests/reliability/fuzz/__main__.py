"""`python -m tests.reliability.fuzz`: fuzz one target or all, with atheris (`tox run -e fuzz`)."""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.reliability.fuzz import targets

_LONGEST = 4096  # bytes of an input


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one fuzzer in this process, which it ends."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["app", "tornado.httputil", "tornado.escape"]):
        for module in [each for each in sys.modules if each.startswith(("app", "tornado"))]:
            del sys.modules[module]
        target = importlib.reload(targets).TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def run(name: str, seconds: int, keep: bool) -> int:
    """Fuzz in a process of its own; return its exit code."""
    with tempfile.TemporaryDirectory(prefix="latchkey-fuzz-") as folder:
        options = [
            *(f"-max_total_time={seconds}", f"-max_len={_LONGEST}", "-timeout=10"),
            *(f"-artifact_prefix={folder}/fault-", "-print_final_stats=1", "-verbosity=0"),
            *(folder, str(targets.CORPUS / name)),
        ]
        command = [sys.executable, "-m", "tests.reliability.fuzz", name, "--inside", *options]
        code = subprocess.run(command, check=False).returncode
        for fault in Path(folder).glob("fault-*"):
            print(f"{name}: {fault.read_bytes()!r}")
            if keep:
                shutil.copy(fault, targets.CORPUS / name)
    return code


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.fuzz", description=__doc__)
    parser.add_argument("target", choices=[*targets.TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add what causes a fault to the corpus")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.inside:
        fuzz(given.target, rest)
    names = list(targets.TARGETS) if given.target == "all" else [given.target]
    return max(abs(run(name, given.seconds, given.keep)) for name in names)


if __name__ == "__main__":
    sys.exit(main())
