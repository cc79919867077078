"""The settings that modules of handlers/ declare for themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from app.settings.declaration import declared
from app.settings.settings import Settings

#: The dataclasses that declare them, by the name of the module: {"chat": ChatSettings}.
OwnRecords = Mapping[str, type[Any]]

_FLAGS = ("check", "config", "help", "version")  # of the program, which are no settings


def check_records(records: OwnRecords) -> None:
    """Raise ValueError with a sentence if these cannot be settings of modules."""
    taken = {each.name: "the program" for each in declared(Settings)}
    taken |= dict.fromkeys(_FLAGS, "the program")
    owners: dict[type[Any], str] = {}
    for group, record in records.items():
        _check_record(group, record)
        other = owners.setdefault(record, group)
        if other != group:
            raise ValueError(
                f"{group}: module {other} has the same settings, {record.__name__}; "
                "declare a class for each module"
            )
        for each in declared(record, group):
            owner = taken.setdefault(each.name, group)
            if owner != group:
                raise ValueError(
                    f"{group}: its setting {each.field.name} would be {each.flag}, "
                    f"which {owner} has; give the field or the module another name"
                )


def _check_record(group: str, record: Any) -> None:
    if not isinstance(record, type) or not dataclasses.is_dataclass(record):
        raise ValueError(
            f"{group}: `settings` is {record!r}; assign a dataclass whose fields "
            "are made by app.settings.setting"
        )
    for each in declared(record, group):
        if "parse" not in each.field.metadata:
            raise ValueError(
                f"{group}: the field {each.field.name} of {record.__name__} is no setting; "
                'write it as NAME: TYPE = setting(values.integer(0, 100), "50", "what it means")'
            )


def complete(settings: Settings, records: OwnRecords) -> Settings:
    """Return the settings with those of modules, defaults where nothing was given.

    Raises SettingsError if one without a default is missing, and ValueError if `settings` has some
    of a module that declares none.
    """
    given = settings.of_modules
    for group, values in given.items():
        if not isinstance(values, records.get(group, ())):
            raise ValueError(f"no module {group} declares {type(values).__name__} as its settings")
    missing = {
        group: build(record, group, {}) for group, record in records.items() if group not in given
    }
    return dataclasses.replace(settings, own={**given, **missing}) if missing else settings


def build(record: type[Any], group: str, values: Mapping[str, Any]) -> Any:
    """Make a record from these values and its defaults; raises SettingsError."""
    for each in declared(record, group):
        if each.required and each.field.name not in values:
            raise each.missing()
    return record(**values)
