"""Tornado's kinds of handlers work on this server as on Tornado's own."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tornado.web
import tornado.wsgi
from tornado.iostream import StreamClosedError

from tests.support.fork import fork
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until


class Parts(tornado.web.RequestHandler):
    async def get(self) -> None:
        for number in range(3):
            self.write(f"part {number}\n")
            await self.flush()


class Endless(tornado.web.RequestHandler):
    """Server-sent events until the client leaves."""

    left: list[bool]

    async def get(self) -> None:
        try:
            while True:
                self.write("data: tick\n\n")
                await self.flush()
                await asyncio.sleep(0.01)
        except StreamClosedError:
            self.left.append(True)


@tornado.web.stream_request_body
class Upload(tornado.web.RequestHandler):
    def prepare(self) -> None:
        self.size = 0
        self.request.connection.set_max_body_size(10_000_000)  # type: ignore[union-attr]

    async def data_received(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        self.size += len(chunk)

    def put(self) -> None:
        self.write(str(self.size))


def _wsgi(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode(), b" ", environ["wsgi.input"].read()]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "ten").write_text("0123456789")
    routes = [
        ("/parts", Parts),
        ("/endless", type("Own", (Endless,), {"left": []})),
        ("/upload", Upload),
        ("/old", tornado.web.RedirectHandler, {"url": "/new"}),
        (r"/files/(.*)", tornado.web.StaticFileHandler, {"path": str(tmp_path / "files")}),
        (r"/wsgi.*", tornado.web.FallbackHandler, {"fallback": tornado.wsgi.WSGIContainer(_wsgi)}),
    ]
    return fork(monkeypatch, routes=routes)


async def test_a_response_is_streamed(tmp_path: Path, modules: tuple[str, ...]) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        assert await visitor.get("/parts") == (200, "part 0\npart 1\npart 2\n")


async def test_a_stream_ends_when_its_client_leaves(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        async with visitor.http.get(site.url + "/endless") as answer:
            assert await answer.content.readline() == b"data: tick\n"
        left = next(
            rule.target.left
            for rule in site.app.web.wildcard_router.rules
            if hasattr(rule.target, "left")
        )
        await until(lambda: left)


async def test_a_body_is_received_in_pieces(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """A handler may raise the limit of its own body."""
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url) as visitor,
        visitor.http.put(site.url + "/upload", data=io.BytesIO(b"x" * 3_000_000)) as answer,
    ):
        assert (answer.status, await answer.text()) == (200, "3000000")


@pytest.mark.parametrize(
    ("asked", "status", "text"),
    [
        (None, 200, "0123456789"),
        ("bytes=2-4", 206, "234"),
        ("bytes=-3", 206, "789"),
        ("bytes=20-", 416, ""),
    ],
)
async def test_a_range_of_a_file_is_served(
    tmp_path: Path, modules: tuple[str, ...], asked: str | None, status: int, text: str
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        headers = {"Range": asked} if asked else {}
        assert await visitor.get("/files/ten", headers=headers) == (status, text)


async def test_a_file_that_has_not_changed_gets_304(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        async with visitor.http.get(site.url + "/files/ten") as answer:
            tag = answer.headers["Etag"]
        assert await visitor.get("/files/ten", headers={"If-None-Match": tag}) == (304, "")


async def test_redirects_and_wsgi_applications_are_served(
    tmp_path: Path, modules: tuple[str, ...]
) -> None:
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        async with visitor.http.get(site.url + "/old", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (301, "/new")
        answered = await visitor.post("/wsgi/path", data=aiohttp.BytesPayload(b"body"))
        assert answered == (200, "/wsgi/path body")
