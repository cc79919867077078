"""The answer to a request of a visitor."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy


class Answer(tuple[int, str]):
    """Status and text of an answer: `assert await visitor.get("/count") == (200, "2")`.

    It unpacks as `status, text = await visitor.get("/count")`, and has the headers too.
    """

    headers: CIMultiDictProxy[str]

    def __new__(
        cls, status: int, text: str, headers: CIMultiDictProxy[str] | None = None
    ) -> Answer:
        answer = super().__new__(cls, (status, text))
        answer.headers = headers if headers is not None else CIMultiDictProxy(CIMultiDict())
        return answer

    @property
    def status(self) -> int:
        """The status code."""
        return self[0]

    @property
    def text(self) -> str:
        """The body."""
        return self[1]

    def json(self) -> Any:
        """Return the decoded body; raises AssertionError if it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            raise AssertionError(f"{self.status}, and not JSON: {self.text[:500]!r}") from None

    @property
    def error(self) -> str:
        """The sentence of an error: `error` in JSON, the alert or the heading in a page."""
        if self.headers.get("Content-Type", "").startswith("application/json"):
            return str(self.json()["error"])
        found = re.search(r'<p [^>]*role="alert">([^<]+)</p>|<h1>([^<]+)</h1>\s*<p>', self.text)
        assert found is not None, f"{self.status}, and no error: {self.text[:500]!r}"
        return unescape(found[1] or found[2])

    @property
    def field(self) -> str:
        """The path of the field that a 422 is about, such as `address.zip`."""
        body = self.json()
        assert "field" in body, f"{self.status}, and no field: {self.text[:500]!r}"
        return str(body["field"])
