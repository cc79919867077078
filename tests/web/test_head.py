"""HEAD: what GET answers, without the body (RFC 9110, 9.3.2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tornado.web import authenticated

from tests.support.clock import Clock
from tests.support.demo.session import BaseHandler, BaseWebSocket
from tests.support.fork import fork
from tests.support.raw import POLLING, UPGRADE, WEBSOCKET, Raw
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.watched_store import WatchedStore

PATHS = [
    "/",
    "/login",
    "/login?next=/account",
    "/register",
    "/account",
    "/account/sign-in",
    "/account/delete",
    "/healthz",
    "/readyz",
    "/static/session_ended.js",
    "/nowhere",
    "/incr",
    "/socket.io/",
    POLLING + "&sid=0-nobody",
]


async def bodyless(raw: Raw, path: str, *headers: tuple[str, str]) -> tuple[int, dict[str, str]]:
    """Send HEAD; return status and headers of the response, which must have no body."""
    raw.write(path, *headers, method="HEAD")
    head = (await raw.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    # what comes next begins with a status line, so there was no body
    after = await raw.ask("/healthz")
    assert after.status == 200
    fields = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), {name.lower(): value for name, value in fields.items()}


@pytest.mark.parametrize("path", [path for path in PATHS if not path.startswith("/socket.io/")])
@pytest.mark.parametrize("user", [False, True])
async def test_head_answers_as_get_does(tmp_path: Path, path: str, user: bool) -> None:
    """The same status and the same headers, Content-Length included, on the same connection."""
    async with (
        serve(tmp_path, clock=Clock()) as site,  # which stands still, so that pages stay the same
        Visitor(site.url) as visitor,
        Raw(site.url) as raw,
    ):
        if user:
            await visitor.sign_up("ada")
        headers = [("Cookie", visitor.cookie), ("Accept", "text/html")]
        got = await raw.ask(path, *headers)
        status, fields = await bodyless(raw, path, *headers)
        expected = dict(got.headers)
        for varying in ("date", "age", "x-request-id"):
            expected.pop(varying, None)
            fields.pop(varying, None)
        assert (status, fields) == (got.status, expected)
        assert fields["content-length"] == str(len(got.body.encode()))


async def test_head_of_metrics_answers_as_get_does(tmp_path: Path) -> None:
    """Its length differs from call to call, because each call is counted."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        status, fields = await bodyless(raw, "/metrics")
        assert status == 200
        assert int(fields["content-length"]) > 1000
        assert fields["content-type"].startswith("text/plain")


async def test_head_makes_no_session(tmp_path: Path) -> None:
    """As GET, it stores nothing and sets no cookie."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        for path in PATHS:
            _, fields = await bodyless(raw, path)
            assert "set-cookie" not in fields
        assert not store.made


@pytest.mark.parametrize("path", ["/socket.io/", POLLING, WEBSOCKET, POLLING + "&sid=0-nobody"])
async def test_head_on_the_socket_endpoint_is_refused_without_closing(
    tmp_path: Path, path: str
) -> None:
    """400, and the connection serves the next request."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        upgrade = UPGRADE.items() if path == WEBSOCKET else ()
        status, fields = await bodyless(raw, path, *upgrade)
        assert status == 400
        assert "connection" not in fields


async def test_head_with_the_id_of_a_connection_does_not_close_it(tmp_path: Path) -> None:
    """The client's next poll is answered."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        opened = await raw.ask(POLLING)
        cookie = ("Cookie", opened.cookie)
        polling = POLLING + "&sid=" + json.loads(opened.body[1:])["sid"]
        assert (await bodyless(raw, polling, cookie))[0] == 400
        assert (await raw.ask(polling, cookie, method="POST", body=b"40")).status == 200
        assert (await raw.ask(polling, cookie)).body.startswith('40{"sid":')


class ForkHandler(BaseHandler):
    """A fork's page that knows nothing of HEAD."""

    @authenticated
    async def get(self, name: str) -> None:
        async with self.session as data:
            data.count += 1
        self.set_header("X-Name", name)
        self.write(name * 100)


class PostHandler(BaseHandler):
    """A fork's page without GET."""

    def post(self) -> None:
        self.write("done")


class Silent(BaseWebSocket):
    """A fork's plain WebSocket."""


async def test_a_plain_websocket_has_no_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """405: it neither opens a connection nor makes a session."""
    store = WatchedStore()
    modules = fork(monkeypatch, routes=[("/ws", Silent)])
    async with serve(tmp_path, modules=modules, store=store) as site, Raw(site.url) as raw:
        assert (await bodyless(raw, "/ws", *UPGRADE.items()))[0] == 405
        assert not store.made
        assert (await raw.websocket(path="/ws")).status == 101


async def test_a_forks_pages_have_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls `get` with its arguments and decorators."""
    routes = [("/named/([a-z]+)", ForkHandler), ("/post", PostHandler)]
    modules = fork(monkeypatch, routes=routes)
    async with (
        serve(tmp_path, modules=modules) as site,
        Visitor(site.url) as visitor,
        Raw(site.url) as raw,
    ):
        status, fields = await bodyless(raw, "/named/ann")
        assert (status, fields["location"]) == (302, "/login?next=%2Fnamed%2Fann")
        assert (await bodyless(raw, "/post"))[0] == 405
        await visitor.sign_up("ada")
        status, fields = await bodyless(raw, "/named/ann", ("Cookie", visitor.cookie))
        assert (status, fields["x-name"], fields["content-length"]) == (200, "ann", "300")
        assert await visitor.incr() == 2
