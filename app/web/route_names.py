"""The names of routes in metrics and traces: their patterns, written for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tornado.routing import PathMatches, Rule
from tornado.web import RequestHandler

NO_ROUTE = "none"  # 404, 421, and answers to preflights
OTHER_METHOD = "other"
_METHODS = frozenset(RequestHandler.SUPPORTED_METHODS)


class RouteNames:
    """Finds the route of a request that was answered, by its handler."""

    def __init__(self, routes: Sequence[Any], base_path: str = "") -> None:
        """`routes` are as Tornado takes them; they are below `base_path`."""
        self._base_path = base_path
        self._by_handler: dict[type[RequestHandler], list[tuple[re.Pattern[str], str]]] = {}
        for pattern, handler in _paths(routes):
            named = (re.compile(pattern), readable(pattern))
            self._by_handler.setdefault(handler, []).append(named)

    def find(self, handler: type[RequestHandler], path: str) -> str:
        """Return the name of the route that took a path; `NO_ROUTE` if none did.

        The path alone decides only among the routes of one handler.
        """
        routes = self._by_handler.get(handler, ())
        if len(routes) == 1:
            return routes[0][1]
        below = path.removeprefix(self._base_path)
        return next((name for pattern, name in routes if pattern.fullmatch(below)), NO_ROUTE)


def known_method(method: str | None) -> str:
    """Return a method as metrics name it: clients may send any word."""
    return method if method in _METHODS else OTHER_METHOD


def readable(pattern: str) -> str:
    """Write a pattern of paths without its regular expressions: `/user/([0-9]+)` is `/user/{}`."""
    text, depth, name = "", 0, ""
    for found in re.finditer(r"\\.|\(\?P<(\w+)>|\(|\)|[^\\()]", pattern.rstrip("$")):
        part = found[0]
        if part.startswith("("):
            name = name if depth else found[1] or ""
            depth += 1
        elif part == ")":
            depth -= 1
            text += "" if depth else f"{{{name}}}"
        elif not depth:
            text += part[-1]
    return re.sub(r"/?[?*+]$", "", text) or "/"


def _paths(routes: Iterable[Any]) -> Iterator[tuple[str, type[RequestHandler]]]:
    """Yield the pattern and the handler of each route, those of nested routers too."""
    for route in routes:
        rule = route if isinstance(route, Rule) else Rule(_matcher(route[0]), *route[1:])
        if isinstance(rule.target, list | tuple):
            yield from _paths(rule.target)
        elif isinstance(rule.matcher, PathMatches) and isinstance(rule.target, type):
            yield rule.matcher.regex.pattern, rule.target


def _matcher(given: Any) -> Any:
    return PathMatches(given) if isinstance(given, str) else given
