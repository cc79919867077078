"""The code of docs/fork.md, for tests that run it as it is written there."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest

from tests.support.paths import ROOT


def section(title: str) -> str:
    """Return one section of docs/fork.md."""
    text = (ROOT / "docs" / "fork.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def module(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Make a module of code."""
    made = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(code, name, "exec"), made.__dict__)  # of our own document
    return made


def written_modules(title: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Make the modules of a section whose code begins with `# handlers/NAME.py`."""
    found = re.findall(r"```python\n# handlers/(\w+)\.py\n(.*?)```", section(title), re.DOTALL)
    names = {f"tests.document_{name}": code for name, code in found}
    for name, code in names.items():
        module(name, code, monkeypatch)
    return tuple(names)
