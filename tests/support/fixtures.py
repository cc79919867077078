"""Fixtures of the demo, in place of those of the pytest plugin.

The conftest.py of a room imports them. The one in `tests/` does not, since tests of a fork are
there, and get what the plugin serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app import testing
from tests.support.demo import MODULES
from tests.support.demo.session import SessionData
from tests.support.site import Site
from tests.support.visitor import Visitor


@pytest.fixture
def latchkey_options(tmp_path: Path) -> dict[str, Any]:
    """What the fixtures `latchkey` and `visitor` serve: the demo."""
    return {"modules": MODULES, "data_type": SessionData, "data_dir": tmp_path / "data"}


@pytest.fixture
def site(latchkey: testing.Site) -> Site:
    """The demo, whose parts a test looks into."""
    return Site(latchkey.app, latchkey.url)


@pytest.fixture
async def visitor(site: Site) -> AsyncIterator[Visitor]:
    """A browser without cookies."""
    async with Visitor(site.url) as browser:
        yield browser


@pytest.fixture
async def ann(site: Site) -> AsyncIterator[Visitor]:
    """Ann's browser, in which she is not signed in yet."""
    async with Visitor(site.url) as browser:
        yield browser
