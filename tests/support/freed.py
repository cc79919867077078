"""Objects that have to be freed without the garbage collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def no_collections() -> Iterator[None]:
    """Keep the garbage collector from running during a test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def in_memory(*classes: type) -> list[str]:
    """Return the class of each object of these classes that is in memory."""
    return [type(each).__name__ for each in gc.get_objects() if isinstance(each, classes)]
