"""Modules of handlers that tests make, as a fork would write them."""

from __future__ import annotations

import itertools
import sys
from types import ModuleType
from typing import Any

import pytest

_numbers = itertools.count(1)
STOCK = ("tests.support.demo.counter", "handlers.sign_in", "handlers.health")


def fork(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> tuple[str, ...]:
    """Make a handler module with these attributes; return `modules` with it at the end."""
    name = f"tests.fork_{next(_numbers)}"
    module = ModuleType(name)
    module.__dict__.update(attributes)
    monkeypatch.setitem(sys.modules, name, module)
    return (*STOCK, name)
