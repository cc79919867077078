"""Pages of a trusted origin on another site, in a real browser: cookies, sockets and frames."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tornado.netutil import bind_sockets

from app.transport.http.server import HttpServer
from tests.support.chromium import OVER_WEBSOCKET, person, press, register, shows
from tests.support.forms import PASSWORD
from tests.support.site import Site, serve
from tests.support.socket_server import tls_contexts
from tests.support.watched_store import WatchedStore

pytestmark = pytest.mark.limit(60)

TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgraded": None}

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
    tmp_path: Path, chromium: str, *, expected: tuple[str, ...] = (), **settings: Any
) -> AsyncIterator[tuple[Elsewhere, Any]]:
    """Serve Latchkey and a page of another site; yield that one and a person's browser."""
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


async def has_cookie(ann: Any) -> bool:
    return any(cookie["name"] == "__Host-latchkey" for cookie in await ann.context.cookies())


@pytest.mark.parametrize("mode", TRANSPORTS)
async def test_with_credentials_pages_and_sockets_share_one_session(
    tmp_path: Path, chromium: str, mode: str
) -> None:
    """Register, count by page and socket, read errors, sign out: all from another site's page."""
    expected = ("404", "401", "400")  # the last one answers a poll of the ended connection
    async with two_sites(tmp_path, chromium, expected=expected) as (_, ann):
        page = await ann.tab()
        account = {"username": "Ann", "password": PASSWORD}
        run = page.evaluate
        assert await run("a => post('/register', 'include', a)", account) == [204, ""]
        assert await run("() => post('/incr', 'include')") == [200, "1"]
        await run("t => connect(t, true)", TRANSPORTS[mode])
        if mode == "upgraded":
            assert await run("() => upgraded") == "websocket"
        assert await run("() => ask('whoami')") == "Ann"
        assert await run("() => ask('incr')") == 2
        assert await run("() => post('/incr', 'include')") == [200, "3"]
        assert await run("() => ask('count')") == 3
        status, text = await run("() => call('/nowhere', {credentials: 'include'})")
        assert (status, "error" in text) == (404, True)
        assert await run("() => post('/logout', 'include')") == [204, ""]
        assert (await run("() => ended"))["reason"] == "logout"
        assert (await run("() => call('/account', {credentials: 'include'})"))[0] == 401
        assert not await has_cookie(ann)


async def test_without_credentials_every_page_request_is_a_visitors(
    tmp_path: Path, chromium: str
) -> None:
    """Each gets a session of its own, and the browser keeps none of their cookies."""
    store = WatchedStore()
    async with two_sites(tmp_path, chromium, store=store) as (_, ann):
        page = await ann.tab()
        for _ in range(2):
            assert await page.evaluate("() => post('/incr', 'omit')") == [200, "1"]
        assert len(store.made) == 2
        assert not await has_cookie(ann)


async def test_without_credentials_polling_has_one_session_for_each_connection(
    tmp_path: Path, chromium: str
) -> None:
    """The socket works, as a visitor's, beside the session that the browser has."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        account = {"username": "Ann", "password": PASSWORD}
        await page.evaluate("a => post('/register', 'include', a)", account)
        await page.evaluate("() => connect(['polling'], false)")
        assert await page.evaluate("() => ask('whoami')") is None
        assert await page.evaluate("() => ask('incr')") == 1
        assert await page.evaluate("() => ask('incr')") == 2
        assert await page.evaluate("() => post('/incr', 'include')") == [200, "1"]


async def test_without_credentials_a_websocket_has_the_browsers_session(
    tmp_path: Path, chromium: str
) -> None:
    """Browsers send cookies with every WebSocket handshake, whatever `withCredentials` says."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        account = {"username": "Ann", "password": PASSWORD}
        await page.evaluate("a => post('/register', 'include', a)", account)
        await page.evaluate("() => connect(['websocket'], false)")
        assert await page.evaluate("() => ask('whoami')") == "Ann"


async def test_without_credentials_a_connection_upgrades_and_stays_a_visitors(
    tmp_path: Path, chromium: str
) -> None:
    """The WebSocket has the browser's cookie; the session is that of the polling handshake."""
    async with two_sites(tmp_path, chromium) as (_, ann):
        page = await ann.tab()
        account = {"username": "Ann", "password": PASSWORD}
        await page.evaluate("a => post('/register', 'include', a)", account)
        await page.evaluate("() => connect(null, false)")
        assert await page.evaluate("() => upgraded") == "websocket"
        assert await page.evaluate("() => ask('whoami')") is None


@pytest.mark.parametrize("mode", ["polling", "websocket"])
async def test_a_page_of_an_untrusted_origin_gets_nothing(
    tmp_path: Path, chromium: str, mode: str
) -> None:
    """Neither its requests nor its sockets come through."""
    expected = ("CORS", "Failed to load", "WebSocket connection to", "403")
    store = WatchedStore()
    options: dict[str, Any] = {"trusted_origins": ("https://app.example.org",), "store": store}
    async with two_sites(tmp_path, chromium, expected=expected, **options) as (_, ann):
        page = await ann.tab()
        failed = "it => it().then(() => 'done', error => error.message)"
        assert await page.evaluate(f"({failed})(() => post('/incr', 'include'))") != "done"
        connect = f"t => ({failed})(() => connect(t, true))"
        assert await page.evaluate(connect, TRANSPORTS[mode]) != "done"
        assert not store.made


async def test_a_framed_site_works_for_a_frame_ancestor(tmp_path: Path, chromium: str) -> None:
    """With SameSite=None the frame has its session and its socket."""
    options: dict[str, Any] = {"framed": True, "expected": ("Blocked autofocusing",)}
    async with two_sites(tmp_path, chromium, **options) as (place, ann):
        place.frame = "/"
        page = await ann.tab()
        frame = page.frames[1]
        await register(frame, "Ann")
        await press(frame, "Add one from the page")
        await shows(frame, count=1, user="Ann", state=OVER_WEBSOCKET)
        await press(frame, "Add one from the socket")
        await shows(frame, count=2)


async def test_no_page_may_frame_the_site_by_default(tmp_path: Path, chromium: str) -> None:
    """The default."""
    expected = ("frame-ancestors", "Refused to frame", "Framing")
    async with two_sites(tmp_path, chromium, expected=expected) as (place, ann):
        place.frame = "/"
        page = await ann.tab()
        assert await page.frames[1].locator("#count").count() == 0
