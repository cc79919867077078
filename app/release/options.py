"""What the command has to know of a site: flags, and the file release.toml."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.release.errors import WrongCall

FILE = "release.toml"


def _option(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Options:
    """Each is a flag, such as --first-port, and a line of release.toml, such as first_port = 8880.

    In a command {number} is that of a process, and {port} is first_port and that number.
    """

    root: str = _option("/opt/latchkey-site", "folder of the releases")
    source: str = _option("", "git repository, or a folder that is copied (default: ROOT/source)")
    processes: str = _option("", "their numbers, such as 0,1 (default: those that systemd knows)")
    restart: str = _option("systemctl restart latchkey@{number}", "command that restarts one")
    first_port: int = _option(8880, "port of process 0")
    ready: str = _option(
        "http://127.0.0.1:{port}/readyz", "where a process says that it serves, or unix:PATH"
    )
    ready_timeout: float = _option(60.0, "seconds that a process has to be ready")
    settle: float = _option(3.0, "seconds that it must stay ready before the next one restarts")
    arguments: str = _option(
        "--process-number={number} --port={port} --data-dir=/var/lib/latchkey/{number}",
        "what the service gives a process",
    )
    env_file: str = _option("/etc/latchkey.env", "settings of the processes; empty: none")
    lock: str = _option("requirements.lock", "file of a release that names its packages")
    packages: str = _option(
        "", "command that makes .venv in a new release (default: pip and the file of --lock)"
    )
    python: str = _option(sys.executable, "Python of a new release")
    keep: int = _option(5, "releases that are kept")

    def words(self, template: str, number: str) -> str:
        """Return a text of these options for one process."""
        port = str(self.first_port + int(number))
        return template.replace("{number}", number).replace("{port}", port)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each option."""
    for each in dataclasses.fields(Options):
        default = f" (default: {each.default})" if each.default not in ("", sys.executable) else ""
        parser.add_argument(
            "--" + each.name.replace("_", "-"),
            dest=each.name,
            metavar="VALUE",
            help=each.metadata["meaning"] + default.replace("%", "%%"),
        )


def read_options(given: argparse.Namespace) -> Options:
    """Return the options of the flags, else of release.toml, else the defaults.

    Raises WrongCall.
    """
    flags = {
        each.name: value
        for each in dataclasses.fields(Options)
        if (value := getattr(given, each.name, None)) is not None
    }
    root = Path(str(flags.get("root", Options.root)))
    values = {**_read_file(root / FILE), **flags}
    known = {each.name: each for each in dataclasses.fields(Options)}
    for name in values:
        if name not in known:
            raise WrongCall(f"{root / FILE}: {name} is no option; there are {', '.join(known)}")
    read = {name: _convert(name, value, known[name].default) for name, value in values.items()}
    options = Options(**read)
    if not all(number.isdecimal() for number in _numbers(options.processes)):
        raise WrongCall(f"--processes {options.processes}: write numbers such as 0,1")
    return options


def numbers(options: Options) -> list[str]:
    """Return the numbers of --processes."""
    return _numbers(options.processes)


def _numbers(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WrongCall(f"{path} could not be read: {error}") from None


def _convert(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    try:
        made = kind(value)
    except (TypeError, ValueError):
        raise WrongCall(f"{name}: {value!r} is no number") from None
    if kind in (int, float) and not 0 <= made < 1_000_000:
        raise WrongCall(f"{name}: {value!r} is out of range")
    return made
