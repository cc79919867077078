"""Settings from the command line and the environment.

A value comes from a flag (`--session-idle-timeout 600`), else from the environment
(`LATCHKEY_SESSION_IDLE_TIMEOUT=600`), else it is the default.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from app.settings import values as read
from app.settings.settings import Settings
from app.settings.values import SettingsError

PREFIX = "LATCHKEY_"


class Parser(argparse.ArgumentParser):
    """A parser that raises SettingsError for arguments that it cannot read."""

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError (argparse calls this)."""
        raise SettingsError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def parse_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Build the settings from flags and environment.

    Raises SettingsError with a sentence that names the setting; `--help` raises SystemExit.
    """
    fields = dataclasses.fields(Settings)
    parsed, rest = _parser(fields).parse_known_args(arguments)
    given = vars(parsed)
    _refuse_unknown_flags(rest, [_flag(field.name) for field in fields])
    _refuse_unknown_variables(environ, [PREFIX + field.name.upper() for field in fields])
    values: dict[str, Any] = {}
    for field in fields:
        source, value = _flag(field.name), given[field.name]
        if value is None:
            source = PREFIX + field.name.upper()
            value = environ.get(source)
        if value is None:
            continue
        try:
            values[field.name] = field.metadata["parse"](value)
        except SettingsError as error:
            quoted = "" if field.metadata["secret"] else f" {value!r}"
            raise SettingsError(f"{source}{quoted}: it {error}") from None
    return Settings(**values)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parser(fields: Sequence[dataclasses.Field[Any]]) -> Parser:
    parser = Parser(
        prog="python -m app",
        description="Serve Latchkey: one login session for web pages and sockets.",
        epilog=f"Each setting is also an environment variable, such as {PREFIX}PORT; flags win. "
        "Other commands: python -m app --version, python -m app backup FOLDER, "
        "python -m app restore FOLDER.",
        allow_abbrev=False,
    )
    for field in fields:
        default = field.metadata["default"] or "none"
        # a bare --cookie-partitioned reads as yes
        bare: dict[str, Any] = (
            {"nargs": "?", "const": "yes"} if field.metadata["parse"] is read.yes_no else {}
        )
        parser.add_argument(
            _flag(field.name),
            metavar="VALUE",
            **bare,
            help=f"{field.metadata['meaning']} (default: {default})".replace("%", "%%"),
        )
    return parser


def _refuse_unknown_variables(environ: Mapping[str, str], known: Sequence[str]) -> None:
    """Raise SettingsError for a variable with our prefix that no setting has."""
    for name in environ:
        if name.startswith(PREFIX) and name not in known:
            remedy = _did_you_mean(name, PREFIX, known)
            raise SettingsError(f"environment variable {name} is no setting; {remedy}")


def _refuse_unknown_flags(rest: Sequence[str], known: Sequence[str]) -> None:
    """Raise SettingsError for a flag that no setting has, without its value, a possible secret."""
    if not rest:
        return
    flag = rest[0].partition("=")[0]
    if not flag.startswith("--"):
        raise SettingsError("an argument belongs to no flag; write --flag=value")
    raise SettingsError(f"{flag} is no setting; {_did_you_mean(flag, '--', known)}")


def _did_you_mean(name: str, prefix: str, known: Sequence[str]) -> str:
    words = [word.removeprefix(prefix) for word in known]
    near = difflib.get_close_matches(name.removeprefix(prefix), words, n=1)
    return f"did you mean {prefix}{near[0]}?" if near else "see python -m app --help"
