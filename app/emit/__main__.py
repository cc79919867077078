"""The command `python -m app.emit EVENT [DATA]`, for scripts and cron jobs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from app.emit import EmitFailed, Emitter
from app.settings import Parser, SettingsError

_FLAGS = ("--config", "--data-dir", "--store")


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments; raises SettingsError."""
    parser = Parser(
        prog="python -m app.emit",
        description="Send an event to sockets of the site.",
        allow_abbrev=False,
    )
    parser.add_argument("event", help="name of the event")
    parser.add_argument("data", nargs="?", help="its argument, as JSON; - reads standard input")
    parser.add_argument("--namespace", default="/", help="namespace (default: /)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--room", help="room of the namespace")
    target.add_argument("--session", metavar="ID", help="session id")
    target.add_argument("--user", metavar="ID", help="account id")
    for flag in _FLAGS:
        parser.add_argument(flag, metavar="VALUE", help="as for python -m app")
    return parser.parse_args(arguments)


def _read_data(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError as error:
        raise SettingsError(
            f"the data is not JSON ({error}); write a string in double quotes: '\"text\"'"
        ) from None


def main(arguments: Sequence[str]) -> int:
    """Emit; return 0, 1 if it fails, 2 for a wrong call."""
    try:
        given = _read_arguments(arguments)
        flags = {flag: vars(given)[flag[2:].replace("-", "_")] for flag in _FLAGS}
        emitter = Emitter.from_settings(
            [f"{flag}={value}" for flag, value in flags.items() if value is not None], os.environ
        )
        emitter.emit(
            given.event,
            _read_data(given.data),
            namespace=given.namespace,
            room=given.room,
            session=given.session,
            user=given.user,
        )
    except SettingsError as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 2
    except EmitFailed as error:
        print(f"latchkey: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
