"""A server of real metrics, of which each path has some altered: what makes one alert fire."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping

from aiohttp import web

#: Alters the text; gets the seconds since the server began.
Alter = Callable[[str, float], str]


def put(sample: str, value: float) -> Alter:
    """Give a sample another value; `sample` is a pattern of its name and labels."""
    return rising(sample, 0.0, value)


def rising(sample: str, per_second: float, begin: float = 0.0) -> Alter:
    """Let samples rise with time; `sample` is a pattern of their names and labels."""
    line = re.compile(rf"^({sample}) \S+$", re.MULTILINE)

    def alter(text: str, seconds: float) -> str:
        altered, count = line.subn(rf"\g<1> {begin + per_second * seconds}", text)
        assert count, f"no metric has a sample {sample}"
        return altered

    return alter


def slow(histogram: str, label: str = "") -> Alter:
    """Let those of a histogram that have this label take more and more times 2.5 to 5 seconds."""
    series = rf"{histogram}_bucket{{(?=[^}}]*{label})[^}}]*"
    of_all = rising(rf'{series}le="(?:5.0|10.0|\+Inf)".*}}', 10.0)
    none = put(rf'{series}le="(?!5.0|10.0|\+Inf).*}}', 0.0)
    return lambda text, seconds: none(of_all(text, seconds), seconds)


class AlteredMetrics:
    """Serves a text at `/healthy`, and at the path of each alert its alteration."""

    def __init__(self, text: str, alterations: Mapping[str, Alter]) -> None:
        self._text = text
        self._alterations = alterations
        self._began = time.monotonic()
        self.errors: dict[str, str] = {}
        self.address = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> AlteredMetrics:
        app = web.Application()
        app.router.add_get("/{name}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        name, text = request.match_info["name"], self._text
        alter = self._alterations.get(name)
        if alter is not None:
            try:
                text = alter(text, time.monotonic() - self._began)
            except AssertionError as error:
                self.errors[name] = str(error)
        if name == "LatchkeyDown":
            raise web.HTTPServiceUnavailable
        return web.Response(text=text, content_type="text/plain")
