"""docs/fork.md: the modules of the sections about starts, jobs, settings and metrics work."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw import Raw
from tests.support.site import serve


def blocks(heading: str) -> list[str]:
    """Return the Python blocks of a section."""
    page = (ROOT / "docs" / "fork.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


async def test_the_modules_of_the_page_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their hooks run, their settings have defaults, and their metrics and policy show."""
    names, policy = blocks("A module of handlers")
    registry, function = blocks("Metrics of your own")
    sources = {
        "policy": policy + '\nroutes = [("/own-sign-in", SignInHandler)]\n',
        "jobs": blocks("Start, stop and jobs")[0],
        "chat": blocks("Settings of your own")[0],
        "registry": registry,
        "function": function,
    }
    product = tmp_path / "documented"
    product.mkdir()
    for name, source in sources.items():
        (product / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    modules = (*(f"documented.{name}" for name in sources), "handlers.health")
    try:
        async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
            history = await raw.ask("/history")
            metrics = await raw.ask("/metrics")
            sign_in = await raw.ask("/own-sign-in")
    finally:
        for name in [name for name in sys.modules if name.startswith("documented")]:
            del sys.modules[name]
    assert names == 'modules = ("chat", "shop")\n'
    assert history.body == "the last 50 messages"
    assert 'chat_messages_total{room="lobby"} 1.0' in metrics.body
    assert "chat_sessions 0.0" in metrics.body
    (policy,) = sign_in.all("Content-Security-Policy")
    assert "form-action 'self' https://id.example.com" in policy
    assert (tmp_path / "lines.txt").read_text() == "started\nstopped\n"


def test_local_py_of_the_page_has_each_list() -> None:
    """Those that app/module_list.py reads."""
    (local,) = blocks("Live with upstream")
    assert re.findall(r"^(\w+) = ", local, re.MULTILINE) == ["modules", "without", "last"]
