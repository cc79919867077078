"""The code in docs/fork.md about session data and hooks does what the page says."""

from __future__ import annotations

import re
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
    code = block("Public API and versions", "OnLogin")
    exec(code.replace("handlers.session", "tests.support.demo.session"), names)
    assert names["on_login"] is names["greet"]
