"""The keys and channels in Redis."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.paths import ROOT


def names(*paths: Path) -> set[str]:
    """Return the words after `latchkey:` in these files."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return {name for text in texts for name in re.findall(r"latchkey:([a-z]+)", text)}


def test_every_key_and_channel_is_documented() -> None:
    """docs/redis.md names each of those in the code, and none that is gone."""
    folders = ROOT / "app" / "stores" / "redis", ROOT / "app" / "cluster"
    sources = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    code = names(*(path for path in sources if path.suffix in (".py", ".lua")))
    code |= {"ping", "lock", "turn"}  # composed: PREFIX + "ping:", key .. ":lock"
    documented = names(ROOT / "docs" / "redis.md") | {"lock"}
    assert code == documented
