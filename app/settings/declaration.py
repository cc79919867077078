"""One setting: how it is declared, and how users write it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence
from typing import Any

from app.settings import addresses, values

PREFIX = "LATCHKEY_"


def setting(
    parse: Callable[[str], Any], default: str | None, meaning: str, *, secret: bool = False
) -> Any:
    """Declare one setting as a field of a dataclass.

    `parse` takes a string and returns the value, or raises SettingsError with the rest of a
    sentence that begins with "it"; `app.settings.values` has such functions. Write `default` as on
    the command line; with None the setting must be given. `meaning` is shown by --help. Mark a
    setting as `secret` if its value must stay out of messages and logs.
    """
    metadata = {"parse": parse, "default": default, "meaning": meaning, "secret": secret}
    if default is None:
        return dataclasses.field(repr=not secret, metadata=metadata)
    return dataclasses.field(
        default_factory=lambda: parse(default), repr=not secret, metadata=metadata
    )


@dataclasses.dataclass(frozen=True)
class Declared:
    """A setting as users write it; `group` is empty for those of the program."""

    group: str
    field: dataclasses.Field[Any]

    @property
    def name(self) -> str:
        """Return its name among all settings, such as `port` or `chat_history`."""
        return f"{self.group}_{self.field.name}" if self.group else self.field.name

    @property
    def flag(self) -> str:
        """Return its flag, such as --chat-history."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Return its environment variable, such as LATCHKEY_CHAT_HISTORY."""
        return PREFIX + self.name.upper()

    @property
    def is_switch(self) -> bool:
        """Return whether the flag alone means yes."""
        return self.field.metadata["parse"] is values.yes_no

    @property
    def is_repeated(self) -> bool:
        """Return whether the flag may be given several times, once for each value."""
        return self.field.metadata["parse"] is addresses.listening

    @property
    def required(self) -> bool:
        """Return whether it has no default."""
        return self.field.metadata["default"] is None

    def default(self) -> Any:
        """Return the value if nothing is given; the setting must have a default."""
        return self.field.metadata["parse"](self.field.metadata["default"])

    def missing(self) -> values.SettingsError:
        """Return the error for a required setting that is not given."""
        return values.SettingsError(
            f"{self.flag} is missing: {self.field.metadata['meaning']}; "
            f"give the flag, or {self.variable} in the environment"
        )

    def read(self, source: str, value: str) -> Any:
        """Return the value of a string; raises SettingsError that names `source`."""
        try:
            return self.field.metadata["parse"](value)
        except values.SettingsError as error:
            quoted = "" if self.field.metadata["secret"] else f" {value!r}"
            raise values.SettingsError(f"{source}{quoted}: it {error}") from None


def declared(record: type[Any], group: str = "") -> list[Declared]:
    """Return the settings that a dataclass declares."""
    return [Declared(group, field) for field in dataclasses.fields(record)]


def did_you_mean(name: str, prefix: str, known: Sequence[str]) -> str:
    """Return what to write in place of an unknown name; the known ones begin with `prefix` too."""
    words = [word.removeprefix(prefix) for word in known]
    near = difflib.get_close_matches(name.removeprefix(prefix), words, n=1)
    return f"did you mean {prefix}{near[0]}?" if near else "see python -m app --help"
