"""Commands that the steps of an upgrade run."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.release.errors import Stopped

_SHOWN = 40  # last lines of a command that failed
_NOT_PASSED = ("LATCHKEY_", "PYTHON", "VIRTUAL_ENV", "GIT_")


def run(
    command: Sequence[str],
    what: str,
    *,
    cwd: Path,
    environ: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> str:
    """Run a command and return its output; raises Stopped with `what` failed and its last lines."""
    try:
        done = subprocess.run(  # noqa: S603  (commands of this program and of its operator)
            command,
            cwd=cwd,
            env=clean_environ() if environ is None else {**environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise Stopped(f"{what}: there is no program {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise Stopped(f"{what}: {shlex.join(command)} took longer than {timeout:g} s") from None
    if done.returncode != 0:
        lines = done.stdout.strip().splitlines()[-_SHOWN:] or [f"exit code {done.returncode}"]
        raise Stopped(f"{what}:\n" + "\n".join(f"    {line}" for line in lines))
    return done.stdout


def clean_environ() -> dict[str, str]:
    """Return the environment without what the operator's shell has for Latchkey or Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED)}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file of systemd's EnvironmentFile=; raises Stopped."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Stopped(f"the settings {path} could not be read: {error.strerror}") from None
    found = {}
    for line in map(str.strip, lines):
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return "".join(shlex.split(value))
    return value
