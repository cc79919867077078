"""docs/fork.md: the settings, metrics, policy and lists of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.demo.session import SessionData
from tests.support.fork_document import section, served
from tests.support.raw import Raw
from tests.support.site import serve


async def test_the_modules_of_the_page_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their settings have defaults, and their metrics and their policy show."""
    modules = served(tmp_path / "product", monkeypatch)
    async with (
        serve(tmp_path, modules=modules, data_type=SessionData) as site,
        Raw(site.url) as raw,
    ):
        assert site.services.settings.of("chat").longest == 500
        await raw.ask("/feedback/good", method="POST")
        metrics = await raw.ask("/metrics")
        welcome = await raw.ask("/welcome")
    assert 'feedback_received_total{kind="good"} 1.0' in metrics.body
    assert "chat_sessions 0.0" in metrics.body
    (policy,) = welcome.all("Content-Security-Policy")
    assert "form-action 'self' https://id.example.com" in policy
    assert "https://pictures.example.com" in policy


def test_local_py_of_the_page_has_each_list() -> None:
    """Those that app/module_list.py reads."""
    assert re.findall(r"^(\w+) = \(", section("Live with upstream"), re.MULTILINE) == [
        "modules",
        "without",
        "last",
    ]
