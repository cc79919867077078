"""The command `python -m app keys`: the keys that sign cookies."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from app.console import keys
from app.console.product import LoadProduct
from app.console.program import common_flags, run
from app.settings import Parser

COMMAND = "keys"
_WAIT = 45.0  # seconds; Redis forgets a process that was killed after 30


def main(arguments: Sequence[str], environ: Mapping[str, str], load: LoadProduct) -> int:
    """Run the command, whose name is the first argument; return its exit code."""
    return run(_parser(), arguments[1:], load, environ)


def _parser() -> Parser:
    parser = Parser(
        prog=f"python -m app {COMMAND}",
        description="List and change the keys that sign cookies, while the processes run.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="list|rotate|retire", dest="command")
    made = {}
    for name, action, text in (
        ("list", keys.list_keys, "list the keys by their fingerprints"),
        ("rotate", keys.rotate, "make a new key that signs; the one before stays accepted"),
        ("retire", keys.retire, "accept no more the keys that no cookie needs any longer"),
    ):
        made[name] = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        made[name].set_defaults(action=action)
        common_flags(made[name])
        made[name].add_argument("--secret-key-file", metavar="VALUE", help="as for python -m app")
    for name in ("rotate", "retire"):
        made[name].add_argument(
            "--wait",
            type=_seconds,
            default=_WAIT,
            metavar="SECONDS",
            help=f"wait so long for the running processes (default: {_WAIT:g})",
        )
    made["retire"].add_argument("key", nargs="*", help="fingerprint, or its beginning")
    made["retire"].add_argument(
        "--force", action="store_true", help="also if that signs users out: the key was stolen"
    )
    return parser


def _seconds(text: str) -> float:
    """Return a number of seconds (argparse calls this)."""
    if not text.isdecimal() or not text.isascii() or len(text) > 6:
        raise argparse.ArgumentTypeError("write a number of seconds")
    return float(text)
