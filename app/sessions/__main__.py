"""The command `python -m app.sessions`: sessions, for operators, also while the server runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from app.console import sessions
from app.console.product import Product
from app.console.program import common_flags, limit, run
from app.settings import Parser


def _parser() -> Parser:
    parser = Parser(
        prog="python -m app.sessions",
        description="List, show, end and count login sessions, also while the server runs.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="list|show|end|stats", dest="command")
    made = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in (
            ("list", "list sessions, the last seen first"),
            ("show", "show one session"),
            ("end", "end sessions: their sockets close in every process"),
            ("stats", "count sessions, users, connections and sign-ins"),
        )
    }
    for name, action in (
        ("list", sessions.list_sessions),
        ("show", sessions.show),
        ("end", sessions.end),
        ("stats", sessions.stats),
    ):
        made[name].set_defaults(action=action)
        common_flags(made[name])
    made["show"].add_argument("id", help="id, or its beginning, of 6 characters at least")
    made["end"].add_argument("id", nargs="?", help="id, or its beginning, of 6 characters at least")
    made["end"].add_argument("--all", action="store_true", help="all sessions, also of visitors")
    made["end"].add_argument(
        "--orphaned",
        action="store_true",
        help="those that no account may have, since the database was restored",
    )
    made["end"].add_argument("--yes", action="store_true", help="do not ask whether you are sure")
    for name in ("list", "end"):
        made[name].add_argument("--user", metavar="NAME", help="those of an account, or user id")
        made[name].add_argument(
            "--stale", metavar="DURATION", help="those not seen for so long, such as 7d or 12h"
        )
    made["list"].add_argument("--limit", type=limit, default=100, help="at most (default: 100)")
    return parser


def _load_product() -> Product:
    """Return what this repository serves; this takes half a second."""
    import handlers
    from app.module_list import listed
    from handlers.session import SessionData

    return Product(listed(handlers), SessionData)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 1 if it fails, 2 for a wrong call."""
    return run(_parser(), arguments, _load_product)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
