"""How a command begins and ends: its flags, its exit code, its interruptions."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from app.console.errors import Failed, WrongCall
from app.console.product import LoadProduct
from app.console.screen import show
from app.console.site import Site
from app.settings import Parser, SettingsError

_FLAGS = ("--config", "--data-dir", "--store", "--database")
_KEY_FLAG = "--secret-key-file"  # of those commands that add it


class Call(NamedTuple):
    """What a command has to work with."""

    site: Site
    given: argparse.Namespace  # its arguments
    load: LoadProduct

    def show(self, result: Any, lines: Callable[[], Sequence[str]]) -> None:
        """Print a result: as JSON with --json, else as these lines."""
        if self.given.json:
            show([json.dumps(result, ensure_ascii=False, indent=2)])
        else:
            show(lines())


Action = Callable[[Call], None]


def common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every command."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")
    for flag in _FLAGS:
        parser.add_argument(flag, metavar="VALUE", help="as for python -m app")


def setting_flags(given: argparse.Namespace) -> list[str]:
    """Return the flags of settings among the arguments."""
    values = {flag: vars(given).get(flag[2:].replace("-", "_")) for flag in (*_FLAGS, _KEY_FLAG)}
    return [f"{flag}={value}" for flag, value in values.items() if value is not None]


def run(
    parser: Parser,
    arguments: Sequence[str],
    load: LoadProduct,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run the action that the arguments name (`action` of the parser); return the exit code.

    0, 1 if it fails, 2 for a wrong call, and 130 after Ctrl-C.
    """
    try:
        given = read(parser, arguments)
        with Site(setting_flags(given), environ, load) as site:
            given.action(Call(site, given, load))
        sys.stdout.flush()
    except (WrongCall, SettingsError) as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # such as of `| head`; Python would complain when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nlatchkey: interrupted; what was asked for may have been done", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def read(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError for those that mean nothing, and names none."""
    given, rest = parser.parse_known_args(arguments)
    if rest:  # which may be a password
        command = f" {given.command}" if "command" in given else ""
        raise SettingsError(f"too many arguments; see {parser.prog}{command} --help")
    return given


def limit(text: str) -> int:
    """Return a number of rows (argparse calls this)."""
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError("write a number from 1 to 10000")
    return int(text)


def any_limit(text: str) -> int:
    """Return a number of rows; 0 is no limit (argparse calls this)."""
    if not text.isdecimal() or not text.isascii() or len(text) > 9:
        raise argparse.ArgumentTypeError("write a number; 0 shows all")
    return int(text)
