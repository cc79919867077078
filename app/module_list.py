"""The list of a product's modules: those of upstream, and the changes in `local.py`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from app.extensions import InvalidModule

_NAMES = ("modules", "without", "last")


def listed(package: ModuleType) -> list[str]:
    """Return the dotted names of the modules that a package such as `handlers` lists.

    `modules` of the package are those of upstream. Its module `local`, which upstream never has,
    belongs to the fork: `modules` come before those of upstream, so their routes and templates win,
    `without` leaves some of upstream out, and `last` come after all others. Raises InvalidModule.
    """
    upstream, local = list(package.modules), _local(package)
    for name in local["without"]:
        if name not in upstream:
            near = difflib.get_close_matches(name, upstream, n=1)
            remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(upstream)}"
            raise InvalidModule(
                f"{package.__name__}/local.py leaves out {name}, which is not there; {remedy}"
            )
    kept = [name for name in upstream if name not in local["without"]]
    return full_names(package.__name__, [*local["modules"], *kept, *local["last"]])


def full_names(package: str, names: Sequence[str]) -> list[str]:
    """Return dotted names; one without a dot is that of a module of the package."""
    return [name if "." in name else f"{package}.{name}" for name in names]


def _local(package: ModuleType) -> dict[str, list[str]]:
    """Return the lists of `local.py`, empty ones if there is none."""
    name = f"{package.__name__}.local"
    try:
        local: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        local = None
    found = {each: getattr(local, each, ()) for each in _NAMES}
    for each, value in found.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InvalidModule(
                f'{package.__name__}/local.py: {each} is {value!r}; write {each} = ("chat",)'
            )
    return {each: list(value) for each, value in found.items()}
