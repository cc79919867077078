"""The answer of a page whose handler used its session wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.web.base_handler import BaseHandler
from tests.support.fork import fork
from tests.support.sessions import Data
from tests.support.site import serve
from tests.support.visitor import Visitor


class NestedChange(BaseHandler[Data]):
    """Changes nested data outside of a block, which would not be stored."""

    def get(self) -> None:
        self.session.data.items.append(1)
        self.write("done")


class WrongType(BaseHandler[Data]):
    """Stores what does not fit the record."""

    async def get(self) -> None:
        async with self.session as data:
            data.count = "one"  # type: ignore[assignment]
        self.write("done")


class Twice(BaseHandler[Data]):
    """Opens its own session inside of its block."""

    async def get(self) -> None:
        async with self.session, self.session:
            self.write("done")


ROUTES: list[Any] = [("/nested", NestedChange), ("/type", WrongType), ("/twice", Twice)]
SENTENCES = {
    "/nested": "changed outside of its block",
    "/type": "Expected `int`, got `str` - at `$.count`",
    "/twice": "already open in",
}


@pytest.mark.parametrize("path", SENTENCES)
@pytest.mark.parametrize("known", [True, False])
async def test_a_handlers_mistake_is_an_answer_and_a_sentence_in_the_log(
    path: str,
    known: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """500 without details for the visitor, the remedy for who reads the log; the page lives on."""
    modules = fork(monkeypatch, routes=ROUTES)
    async with (
        serve(tmp_path, modules=modules, data_type=Data) as site,
        Visitor(site.url) as visitor,
    ):
        if known:
            await visitor.incr()
        status, text = await visitor.get(path)
        assert status == 500
        assert "done" not in text
        assert SENTENCES[path] not in text
        assert SENTENCES[path] in caplog.text
        assert await visitor.incr() == 1 + known
