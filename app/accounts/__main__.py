"""The command `python -m app.accounts`: accounts, for operators, also while the server runs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.console import accounts
from app.console.add_account import add
from app.console.product import Product
from app.console.program import Action, any_limit, common_flags, run
from app.settings import Parser

_REMOVED_ROLE = re.compile(r"-[a-z0-9]{2,}[a-z0-9_-]*")  # -h is a flag


def _name(parser: Parser) -> None:
    parser.add_argument("name", help="name or id of the account")


def _limit(parser: Parser) -> None:
    parser.add_argument(
        "--limit", type=any_limit, default=100, help="at most (default: 100); 0: all"
    )


def _list(parser: Parser) -> None:
    parser.add_argument("--search", metavar="TEXT", help="part of the name or the address")
    parser.add_argument("--role", help="those with this role")
    parser.add_argument("--disabled", action="store_true", help="those that are disabled")
    parser.add_argument("--after", metavar="NAME", help="those that come after this name")
    _limit(parser)


def _add(parser: Parser) -> None:
    parser.add_argument("name", help="name of the account")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    parser.add_argument(
        "--link", action="store_true", help="no password: print a link by which the user sets one"
    )


def _rename(parser: Parser) -> None:
    _name(parser)
    parser.add_argument("new_name", help="the name from now on")


def _role(parser: Parser) -> None:
    _name(parser)
    parser.add_argument(
        "changes", nargs="+", metavar="+ROLE|-ROLE", help="+admin adds, -admin removes"
    )


def _delete(parser: Parser) -> None:
    _name(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask whether you are sure")


def _two_step(parser: Parser) -> None:
    _name(parser)
    parser.add_argument("--off", action="store_true", help="the password is enough from now on")


def _audit(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", help="name or id of the account (default: all)")
    parser.add_argument("--by", metavar="NAME", help="what this administrator did")
    parser.add_argument("--since", metavar="WHEN", help="such as 2026-11-01, yesterday or 7d")
    parser.add_argument("--until", metavar="WHEN", help="day (included) or time")
    parser.add_argument("--event", action="append", help="such as sign-in; may be repeated")
    _limit(parser)


class _Command(NamedTuple):
    name: str
    action: Action
    arguments: Callable[[Parser], None]
    meaning: str


_COMMANDS = (
    _Command("list", accounts.list_accounts, _list, "list accounts by name, with filters"),
    _Command("show", accounts.show, _name, "show an account, its sessions and its latest events"),
    _Command("add", add, _add, "make an account: add NAME asks for its password"),
    _Command("rename", accounts.rename, _rename, "give an account another name"),
    _Command("disable", accounts.disable, _name, "end all sessions and refuse all sign-ins"),
    _Command("enable", accounts.enable, _name, "let a disabled account sign in again"),
    _Command("role", accounts.role, _role, "add roles to an account, and remove others"),
    _Command("reset", accounts.reset, _name, "print a link by which the user sets a new password"),
    _Command("two-step", accounts.two_step, _two_step, "turn two-step sign-in off: a lost phone"),
    _Command("delete", accounts.delete, _delete, "delete an account, after a question"),
    _Command("export", accounts.export, _name, "print what the site keeps of an account, as JSON"),
    _Command("audit", accounts.audit, _audit, "show who did what when: sign-ins, changes"),
)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m app.accounts",
        description="List, show and change accounts, also while the server runs.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(
        required=True, metavar="|".join(each.name for each in _COMMANDS), dest="command"
    )
    for each in _COMMANDS:
        made = commands.add_parser(
            each.name, help=each.meaning, description=each.meaning, allow_abbrev=False
        )
        each.arguments(made)
        made.set_defaults(action=each.action)
        common_flags(made)
    return parser


def _protected(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with another minus sign in -ROLE, which argparse takes for a flag."""
    if list(arguments[:1]) != ["role"]:
        return [*arguments]
    return [
        accounts.MINUS + word[1:] if _REMOVED_ROLE.fullmatch(word) else word for word in arguments
    ]


def _load_product() -> Product:
    """Return what this repository serves; this takes half a second."""
    import handlers
    from app.module_list import listed
    from handlers.session import SessionData

    return Product(listed(handlers), SessionData)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return 0, 1 if it fails, 2 for a wrong call."""
    return run(_parser(), _protected(arguments), _load_product)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
