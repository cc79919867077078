"""The operator's day in docs/operators.md, played against a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.console.operators_document import _BLOCK, PAGE, fixed, transcripts


@pytest.mark.limit(120)
async def test_the_commands_of_the_page_print_what_it_shows(tmp_path: Path) -> None:
    """Apart from times, ids and tokens; `python -m tests.console.operators_document --write`."""
    shown = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    played = await transcripts(tmp_path)
    assert [fixed(block) for block in played] == [fixed(block) for block in shown]
