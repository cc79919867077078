"""The code in docs/fork.md about pages, session data and tests does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.sessions.codec import Codec
from app.sessions.errors import InvalidData
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "fork.md").read_text(encoding="utf-8")


def block(heading: str, first: str) -> str:
    """Return the code block of a section that has this text in its first lines."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    (code,) = (text for text in found if first in text)
    return str(code)


def in_the_demo(code: str) -> str:
    """Use the demo's session, since a fork may change that of handlers/."""
    return code.replace("handlers.session", "tests.support.demo.session").replace(
        "handlers.orders", "orders"
    )


def test_the_pages_tests_pass(tmp_path: Path) -> None:
    """The module of one section with the tests of another, in a project of their own."""
    conftest = in_the_demo(block("Tests of your own", "# tests/conftest.py"))
    conftest = conftest.rstrip() + ' | {"data_type": SessionData}\n'
    conftest = "from tests.support.demo.session import SessionData\n" + conftest
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "orders.py").write_text(in_the_demo(block("Pages and JSON", "orders.py")))
    (tmp_path / "test_orders.py").write_text(block("Tests of your own", "test_orders.py"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_the_pages_upgrade_takes_over_old_data() -> None:
    """And the release between the two reads both forms."""
    names: dict[str, Any] = {"msgspec": msgspec, "Any": Any}
    exec(block("Change SessionData", "def upgrade"), names)
    codec: Codec[Any] = Codec(names["SessionData"])
    old = msgspec.msgpack.encode({"count": 3, "names": "ann,bob"})
    data = codec.draft(old)
    assert (data.count, data.names) == (3, ["ann", "bob"])

    class Between(msgspec.Struct):
        count: int = 0
        names: str | list[str] = ""

    between = Codec(Between)
    assert between.draft(old).names == "ann,bob"
    assert between.draft(codec.encode(data)).names == ["ann", "bob"]
    with pytest.raises(InvalidData, match="KeyError"):
        codec.draft(msgspec.msgpack.encode({"names": "ann"}))


def test_the_pages_hook_is_one() -> None:
    """It is called with a session."""
    names: dict[str, Any] = {}
    exec(in_the_demo(block("Public API and versions", "OnLogin")), names)
    assert names["on_login"] is names["greet"]
