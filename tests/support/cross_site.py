"""Latchkey over https, and a page of another site that calls or frames it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from tornado.netutil import bind_sockets

from app.transport.http.server import HttpServer
from tests.support.chromium import person
from tests.support.site import Site, serve
from tests.support.socket_server import tls_contexts

SCRIPT = """
window.call = async (path, options = {}) => {
  const answer = await fetch(site + path, { headers: { Accept: "application/json" }, ...options });
  return [answer.status, await answer.text()];
};
window.post = (path, credentials, body) => call(path, {
  method: "POST",
  credentials,
  headers: { Accept: "application/json", "Content-Type": "application/json", "X-Tenant": "t" },
  body: JSON.stringify(body ?? {}),
});
window.connect = async (transports, withCredentials) => {
  window.socket = io(site, {
    transports: transports ?? undefined,
    withCredentials,
    extraHeaders: { "X-Tenant": "t" },
    reconnection: false,
  });
  const { engine } = socket.io;
  window.upgraded = new Promise((done) =>
    engine.on("upgrade", () => done("websocket")).on("upgradeError", () => done("polling")));
  window.ended = new Promise((done) => socket.on("session ended", done));
  await new Promise((done, failed) => socket.on("connect", done).on("connect_error", failed));
};
window.ask = (...event) => socket.timeout(5000).emitWithAck(...event);
"""


class Elsewhere:
    """A site of its own, with one page that calls Latchkey at `site`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.site = ""
        self.frame = ""  # path of a page of Latchkey's to frame

    async def page(self, request: web.Request) -> web.Response:
        text = '<!doctype html><link rel="icon" href="data:,">'
        if self.frame:
            text += f'<iframe src="{self.site}{self.frame}"></iframe>'
        else:
            text += f'<script src="{self.site}/static/vendor/socket.io.min.js"></script>'
            text += f'<script>const site = "{self.site}";{SCRIPT}</script>'
        return web.Response(text=text, content_type="text/html")


@contextlib.asynccontextmanager
async def elsewhere() -> AsyncIterator[Elsewhere]:
    """Serve a page on a loopback port, as http://127.0.0.1:PORT."""
    app = web.Application()
    runner = web.AppRunner(app, access_log=None)
    place = Elsewhere("")
    app.router.add_get("/", place.page)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield place
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def over_tls(site: Site) -> AsyncIterator[str]:
    """Serve this application as https://localhost:PORT too, where cookies are Secure."""
    context, _ = tls_contexts()
    server = HttpServer(site.app.web, max_body_size=1_000_000, ssl=context)
    sockets = bind_sockets(0, "127.0.0.1")
    await server.listen(sockets)
    try:
        yield f"https://localhost:{sockets[0].getsockname()[1]}"
    finally:
        await server.close(1.0)


@contextlib.asynccontextmanager
async def two_sites(
    tmp_path: Path, chromium: Any, *, expected: tuple[str, ...] = (), **settings: Any
) -> AsyncIterator[tuple[Elsewhere, Any]]:
    """Serve Latchkey and a page of another site; yield the other site and a person's browser."""
    async with elsewhere() as place:
        # a private window, which Playwright opens, keeps cookies of other sites only if Partitioned
        cookie = {"cookie_samesite": "none", "cookie_partitioned": True}
        options = {"trusted_origins": (place.url,), **cookie, **settings}
        if options.pop("framed", False):
            options["frame_ancestors"] = (place.url,)
        async with (
            serve(tmp_path, **options) as site,
            over_tls(site) as place.site,
            person(chromium, site, expected=expected, ignore_https_errors=True) as ann,
        ):
            ann.url = place.url
            yield place, ann
