"""The answer to a path that has no handler."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError

from app.web.base_handler import BaseHandler


class NotFoundHandler(BaseHandler[Any]):
    """404 for every path that has no route."""

    async def prepare(self) -> None:
        await super().prepare()
        raise HTTPError(404)
