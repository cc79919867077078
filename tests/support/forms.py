"""Pages and forms, used as browsers and scripts use them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from app.testing import PASSWORD, Answer
from app.testing.visitor import PAGE
from tests.support.site import Site
from tests.support.visitor import Visitor

__all__ = ["PAGE", "PASSWORD", "Answer", "ask", "count", "each_kind", "known", "send", "who"]

each_kind = pytest.mark.parametrize("kind", ["form", "json"])


async def send(
    visitor: Visitor,
    kind: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    /,
    **fields: Any,
) -> Answer:
    """Send these fields as a browser's form or as a script's JSON."""
    if kind == "form":
        return await visitor.submit(path, fields, headers=headers)
    return await visitor.post(path, headers=headers, json=fields)


async def ask(visitor: Visitor, path: str = "/", **headers: str) -> Answer:
    """Ask for a page as a browser does."""
    return await visitor.page(path, headers=headers)


async def who(visitor: Visitor) -> str | None:
    """Return the user name in the page's data, or None for a visitor."""
    found = re.search(r'data-user="([^"]*)"', (await ask(visitor)).text)
    return found[1] if found else None


async def count(visitor: Visitor) -> int:
    """Return the count that the page shows."""
    found = re.search(r'id="count"[^>]*>(\d+)<', (await ask(visitor)).text)
    assert found is not None
    return int(found[1])


async def known(site: Site, *names: str) -> None:
    """Make accounts of these names."""
    for name in names:
        await site.services.accounts.register(name, PASSWORD)
