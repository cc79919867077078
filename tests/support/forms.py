"""Pages and forms, used as browsers and scripts use them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.site import Site
from tests.support.visitor import Visitor

PASSWORD = "correct horse battery"
PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
each_kind = pytest.mark.parametrize("kind", ["form", "json"])


class Answer:
    """A response to a form or to JSON."""

    def __init__(self, status: int, headers: Any, text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def sentence(self) -> str:
        """The sentence for the user: `error` in JSON, the alert in a page."""
        if self.headers["Content-Type"].startswith("application/json"):
            answer = json.loads(self.text)
            assert list(answer) == ["error"]
            return str(answer["error"])
        found = re.search(r'<p [^>]*role="alert">([^<]+)</p>|<h1>([^<]+)</h1>\s*<p>', self.text)
        assert found is not None, self.text
        return found[1] or found[2]


async def send(
    visitor: Visitor, kind: str, path: str, headers: dict[str, str] | None = None, /, **fields: Any
) -> Answer:
    """Send these fields as a browser's form or as a script's JSON."""
    body: dict[str, Any] = {"json": fields} if kind == "json" else {"data": fields}
    headers = {**(PAGE if kind == "form" else {}), **(headers or {})}
    async with visitor.http.post(
        visitor.url + path, allow_redirects=False, headers=headers, **body
    ) as answer:
        return Answer(answer.status, answer.headers, await answer.text())


async def ask(visitor: Visitor, path: str = "/", **headers: str) -> Answer:
    """Ask for a page as a browser does."""
    async with visitor.http.get(
        visitor.url + path, allow_redirects=False, headers={**PAGE, **headers}
    ) as answer:
        return Answer(answer.status, answer.headers, await answer.text())


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
