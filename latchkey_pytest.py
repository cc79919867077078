"""pytest's plugin of Latchkey: the fixtures `latchkey`, `visitor` and `latchkey_options`.

pytest imports this file in every project that has Latchkey installed. So it has a name of its own
outside of `app`, and imports the application only in a test that asks for it.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from typing import Any

import pytest


def _async_fixture(function: Any) -> Any:
    """Make a fixture of a coroutine; without pytest-asyncio one that says what is missing."""
    try:
        return importlib.import_module("pytest_asyncio").fixture(function)
    except ImportError:
        return pytest.fixture(name=function.__name__)(_missing)


def _missing() -> None:
    pytest.fail("Latchkey's fixtures need pytest-asyncio: pip install 'latchkey[testing]'")


@pytest.fixture
def latchkey_options() -> dict[str, Any]:
    """What `app.testing.serve` gets; override it in conftest.py or in a test file."""
    return {}


@_async_fixture
async def latchkey(latchkey_options: dict[str, Any]) -> AsyncIterator[Any]:
    """The application, an `app.testing.Site`, in the process of the test."""
    from app.testing import serve

    async with serve(**latchkey_options) as site:
        yield site


@_async_fixture
async def visitor(latchkey: Any) -> Any:
    """A browser without cookies, an `app.testing.Visitor`; `latchkey.visitor()` makes more."""
    return latchkey.visitor()
