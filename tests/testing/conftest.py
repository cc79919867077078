"""The fixtures of the plugin as forks have them."""

from __future__ import annotations

import pytest

from app.testing import Site, Visitor


@pytest.fixture
async def visitor(latchkey: Site) -> Visitor:
    """The plugin's own, which tests/conftest.py replaces."""
    return latchkey.visitor()
