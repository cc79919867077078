"""A handler that judges the origin of every request by one rule."""

from __future__ import annotations

from collections.abc import Callable

from app.transport.tornado_private import OriginRule
from app.web.app_handler import AppHandler
from app.web.origin import origin_error


class OriginCheck(AppHandler, OriginRule):
    """Judges every request by `origin_error` in place of Tornado's own rule."""

    def origin_error(self, trusted: Callable[[str], bool]) -> str | None:
        """Return why the origin of this request is refused; None if it is allowed."""
        return origin_error(self.request, trusted)
