"""Settings from the command line, the environment and a file.

A value comes from a flag (`--session-idle-timeout 600`), else from the environment
(`LATCHKEY_SESSION_IDLE_TIMEOUT=600`), else from the file of --config
(`session-idle-timeout = 600`), else it is the default.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from app.settings.config_file import ConfigFile
from app.settings.declaration import PREFIX, Declared, declared, did_you_mean
from app.settings.module_settings import OwnRecords, build
from app.settings.settings import Settings
from app.settings.values import SettingsError

_COMMANDS = ("backup FOLDER", "restore FOLDER")
_CONFIG = PREFIX + "CONFIG"
_DEBUGGER_TIMEOUT = 3600.0  # seconds


class Parser(argparse.ArgumentParser):
    """A parser that raises SettingsError for arguments that it cannot read."""

    def error(self, message: str) -> NoReturn:
        """Raise SettingsError (argparse calls this)."""
        raise SettingsError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def parse_settings(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    own: OwnRecords | None = None,
    *,
    others: Callable[[], Collection[str]] = tuple,
) -> Settings:
    """Build the settings from flags, environment and the file of --config.

    `own` are the dataclasses of modules that have settings, by the module's name, and `others`
    returns names of variables that mean something to another command; it is called if there are
    unknown ones. Raises SettingsError with a sentence that names the setting; `--help` raises
    SystemExit.
    """
    return _parse(arguments, environ, own or {}, others)


def parse_program_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Build the settings of the program alone; those of modules are not looked at.

    Raises SettingsError.
    """
    return _parse(_without_help(arguments), environ, {}, None)


def read_some(
    names: Collection[str], arguments: Sequence[str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """Return these settings of the program, by field; no other one is read or checked.

    Raises SettingsError.
    """
    options = [each for each in declared(Settings) if each.field.name in names]
    parsed, _ = _parser(options).parse_known_args(_without_help(arguments))
    defaults = {each.field.name: each.default() for each in options}
    return defaults | _read(options, parsed, environ, _config_file(arguments, environ))[""]


def config_path(arguments: Sequence[str], environ: Mapping[str, str]) -> Path | None:
    """Return the path of --config, or None."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    path = parser.parse_known_args(arguments)[0].config or environ.get(_CONFIG)
    return Path(path) if path else None


def _parse(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    own: OwnRecords,
    others: Callable[[], Collection[str]] | None,
) -> Settings:
    """Build the settings; without `others` unknown names are ignored."""
    groups: dict[str, type[Any]] = {"": Settings, **own}
    options = [each for group, record in groups.items() for each in declared(record, group)]
    parsed, rest = _parser(options).parse_known_args(arguments)
    config = _config_file(arguments, environ)
    if others is not None:
        _refuse_unknown_flags(arguments, rest, options)
        known = [_CONFIG, *(each.variable for each in options)]
        _refuse_unknown_variables(environ, known, others)
        if config is not None:
            config.refuse_unknown(options, others)
    read = _read(options, parsed, environ, config)
    values: dict[str, dict[str, Any]] = {group: read.get(group, {}) for group in groups}
    settings = Settings(**_implied(values.pop("")))
    records = {group: build(groups[group], group, given) for group, given in values.items()}
    return dataclasses.replace(settings, own=records) if records else settings


def _without_help(arguments: Sequence[str]) -> list[str]:
    return [name for name in arguments if name not in ("-h", "--help")]


def _config_file(arguments: Sequence[str], environ: Mapping[str, str]) -> ConfigFile | None:
    path = config_path(arguments, environ)
    return ConfigFile(path) if path else None


def _read(
    options: Sequence[Declared],
    parsed: argparse.Namespace,
    environ: Mapping[str, str],
    config: ConfigFile | None,
) -> dict[str, dict[str, Any]]:
    """Return the values that are given, by group and field."""
    values: dict[str, dict[str, Any]] = {option.group: {} for option in options}
    for option in options:
        source, value = option.flag, vars(parsed)[option.name]
        if isinstance(value, list):  # of a flag that may be repeated
            value = ",".join(value)
        if value is None:
            source, value = option.variable, environ.get(option.variable)
        if value is None and config is not None:
            source, value = config.get(option) or (source, None)
        if value is not None:
            values[option.group][option.field.name] = option.read(source, value)
    return values


def _implied(values: dict[str, Any]) -> dict[str, Any]:
    """Add what the given settings of the program mean for others."""
    if values.get("unix_socket") is not None and "host" not in values:
        values["host"] = ()  # the Unix socket only
    if values.get("reload"):  # a debugger may stop the process for long
        values.setdefault("ping_timeout", _DEBUGGER_TIMEOUT)
    return values


def _parser(options: Sequence[Declared]) -> Parser:
    parser = Parser(
        prog="python -m app",
        description="Serve Latchkey: one login session for web pages and sockets.",
        epilog=f"Each setting is also an environment variable, such as {PREFIX}PORT, and a line "
        "of the file of --config, such as port = 8888; flags win, then the environment. "
        "Other commands: python -m app --version, "
        f"{', '.join(f'python -m app {command}' for command in _COMMANDS)}.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="file of settings (TOML); flags and environment win (default: none)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check settings, stores and database, print what is found, and exit",
    )
    groups: dict[str, Any] = {"": parser}
    for option in options:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(f"settings of {option.group}")
        meaning, default = option.field.metadata["meaning"], option.field.metadata["default"]
        note = "required" if option.required else f"default: {default or 'none'}"
        manner: dict[str, Any] = {}
        if option.is_switch:  # a bare --cookie-partitioned reads as yes
            manner = {"nargs": "?", "const": "yes"}
        elif option.is_repeated:
            manner = {"action": "append"}
        groups[option.group].add_argument(
            option.flag,
            dest=option.name,
            metavar="VALUE",
            **manner,
            help=f"{meaning} ({note})".replace("%", "%%"),
        )
    return parser


def _refuse_unknown_variables(
    environ: Mapping[str, str], known: Sequence[str], others: Callable[[], Collection[str]]
) -> None:
    """Raise SettingsError for a variable with our prefix that no setting has."""
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in known]
    if not unknown:
        return
    allowed = others()
    for name in unknown:
        if name not in allowed:
            remedy = did_you_mean(name, PREFIX, known)
            raise SettingsError(f"environment variable {name} is no setting; {remedy}")


def _refuse_unknown_flags(
    arguments: Sequence[str], rest: Sequence[str], options: Sequence[Declared]
) -> None:
    """Raise SettingsError for an argument that is no setting, without a possible secret."""
    if not rest:
        return
    flag = rest[0].partition("=")[0]
    if flag.startswith("--"):
        known = [option.flag for option in options]
        raise SettingsError(f"{flag} is no setting; {did_you_mean(flag, '--', known)}")
    if rest[0] == arguments[0]:  # no flag comes before it, so it is no part of a flag's value
        raise SettingsError(
            f"{rest[0]!r} is no command and no setting; the commands are "
            f"{' and '.join(_COMMANDS)}, and a setting is written --flag=value"
        )
    raise SettingsError("an argument belongs to no flag; write --flag=value")
