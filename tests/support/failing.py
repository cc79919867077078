"""A program with a page and an event that fail."""

from __future__ import annotations

import sys

from app.application import NoData
from app.program import run
from app.sockets.base_namespace import BaseNamespace
from app.web.base_handler import BaseHandler


class FailingHandler(BaseHandler[NoData]):
    """Raises an exception."""

    def get(self) -> None:
        raise LookupError("no such page \udcff")


class FailingNamespace(BaseNamespace[NoData]):
    """Has an event that raises an exception."""

    async def on_fail(self, sid: str) -> None:
        raise LookupError("no such event")


routes = [(r"/fail", FailingHandler)]
namespaces = [("/", FailingNamespace)]

if __name__ == "__main__":
    sys.exit(run(("tests.support.failing",), NoData))
