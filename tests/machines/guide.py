"""The blocks of docs/deploy.md that a reader copies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Block:
    """The lines of one block, and the section that it stands in."""

    section: str
    script: str


def blocks(section: str) -> list[Block]:
    """Return the blocks of the sections whose heading matches, in their order."""
    found = []
    for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        if re.match(section, heading):
            found += [Block(heading, each) for each in re.findall(r"```sh\n(.*?)```", text, re.S)]
    return found
