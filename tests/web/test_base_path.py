"""--base-path: everything is served below a path, and every address that is made leads there."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import tornado.web

from app.web.security_headers import SecurityHeaders
from tests.support.fork import fork
from tests.support.forms import PASSWORD, send
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.visitor import Visitor

STOCK = ("handlers.counter", "handlers.sign_in", "handlers.account", "handlers.health")
OF_USER = ("/account", "/account/sign-in", "/account/delete")


def origin(url: str) -> str:
    return url.removesuffix("/app")


def prefix(path: str) -> dict[str, Any]:
    return {"X-Forwarded-Prefix": path}


async def test_pages_and_sockets_share_a_session_below_the_base_path(tmp_path: Path) -> None:
    """By both transports, with a cookie that is sent below this path only."""
    async with serve(tmp_path, base_path="/app") as site, Visitor(site.url) as ann:
        assert site.url.endswith("/app")
        await ann.sign_up("ann")
        paths = {cookie.key: cookie["path"] for cookie in ann.jar}
        assert paths == {"latchkey": "/app", "latchkey-device": "/app/login"}
        for number, transport in enumerate(("polling", "websocket")):
            socket = await ann.socket(transport)
            assert await socket.call("incr") == 2 * number + 1
            assert await ann.incr() == 2 * number + 2
            assert await socket.call("whoami") == "ann"
            await socket.close()


async def test_every_address_of_a_page_is_below_the_base_path(tmp_path: Path) -> None:
    """Links, forms, styles, scripts; each of them is there."""
    async with serve(tmp_path, base_path="/app", modules=STOCK) as site, Visitor(site.url) as ann:
        for user in (False, True):
            if user:
                await ann.sign_up("ann")
            for path in ("/", "/login", "/register", *(OF_USER if user else ("/nowhere",))):
                _, page = await ann.get(path)
                found = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
                assert found
                assert [address for address in found if not address.startswith("/app/")] == []
                assert 'data-base-path="/app"' in page
                for address in {address for address in found if "/static/" in address}:
                    async with ann.http.get(origin(site.url) + address) as answer:
                        assert answer.status == 200


async def test_redirects_stay_below_the_base_path(tmp_path: Path) -> None:
    """A sign-in leads back to the page that asked for it, and to no other program of the host."""
    async with serve(tmp_path, base_path="/app", modules=STOCK) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await send(ann, "form", "/logout")

        async def location(path: str, **fields: str) -> str:
            if fields:
                answer = await send(ann, "form", path, **fields)
                return str(answer.headers["Location"])
            async with ann.http.get(site.url + path, allow_redirects=False) as page:
                return page.headers["Location"]

        login = {"username": "ann", "password": PASSWORD}
        assert await location("/account") == "/app/login?next=%2Fapp%2Faccount"
        assert await location("/account/sessions/revoke-others", x="") == (
            "/app/login?next=%2Fapp%2Faccount"
        )
        assert await location("/login", next="/app/account", **login) == "/app/account"
        for elsewhere in ("/", "/application", "/app/../x", "/app/%2E./x", "/app/..\\x", "//app/"):
            assert await location("/login", next=elsewhere, **login) == "/app/"
        assert await location("/login", next="/app/a?b=/../c", **login) == "/app/a?b=/../c"
        assert await location("/logout", x="") == "/app/"
        # the base path itself
        assert await location("") == "/app/"
        assert await location("?a=b") == "/app/?a=b"


async def test_nothing_is_served_outside_of_the_base_path(tmp_path: Path) -> None:
    """404, whatever X-Forwarded-Prefix a client sends."""
    inside = ("/", "/login", "/static/style.css", "/healthz", "/readyz", "/metrics", POLLING)
    async with serve(tmp_path, base_path="/app") as site, Raw(origin(site.url)) as raw:
        for path in inside:
            assert (await raw.ask(path)).status == 404
            assert (await raw.ask(path, **prefix("/app"))).status == 404
            assert (await raw.ask("/app" + path)).status == 200
        for path in ("/application", "//app/", "/APP/", "/x/app/"):
            assert (await raw.ask(path)).status == 404


async def test_a_trusted_proxy_may_remove_the_base_path(tmp_path: Path) -> None:
    """It says so by X-Forwarded-Prefix; a prefix other than --base-path is ignored."""
    proxies = (ip_network("127.0.0.1"),)
    options: dict[str, Any] = {"base_path": "/app", "trusted_proxies": proxies, "modules": STOCK}
    async with serve(tmp_path, **options) as site, Raw(origin(site.url)) as raw:
        page = await raw.ask("/account", **prefix("/app"))
        assert page.all("location") == ["/app/login?next=%2Fapp%2Faccount"]
        assert (await raw.ask("/account", **prefix("/evil"))).status == 404
        assert (await raw.ask("/account")).status == 404


async def test_https_cookies_have_the_secure_prefix(tmp_path: Path) -> None:
    """Browsers refuse __Host- with another Path than /."""
    async with (
        serve(tmp_path, base_path="/app", cookie_secure="yes") as site,
        Raw(origin(site.url)) as raw,
    ):
        (cookie,) = (await raw.ask("/app/incr", method="POST")).all("set-cookie")
        assert cookie.startswith("__Secure-latchkey=")
        assert "Path=/app;" in cookie
        assert "Secure" in cookie


async def test_a_forks_handler_sees_the_path_of_the_browser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its route has no base path; what Tornado makes of routes and paths has it."""

    class Named(SecurityHeaders):
        @tornado.web.removeslash
        def get(self, name: str) -> None:
            request = self.request
            self.write(
                {
                    "name": name,
                    "path": request.path,
                    "uri": request.uri,
                    "reversed": self.reverse_url("other", "b"),
                    "url": self.url("/x", q="a b"),
                }
            )

    modules = fork(
        monkeypatch,
        routes=[
            (r"/named/([a-z]+)/?", Named),
            tornado.web.url(r"/other/([a-z]+)", Named, name="other"),
        ],
    )
    async with (
        serve(tmp_path, base_path="/app", modules=modules) as site,
        Visitor(site.url) as visitor,
    ):
        async with visitor.http.get(site.url + "/named/a?b=c") as answer:
            assert await answer.json() == {
                "name": "a",
                "path": "/app/named/a",
                "uri": "/app/named/a?b=c",
                "reversed": "/app/other/b",
                "url": "/app/x?q=a+b",
            }
        async with visitor.http.get(site.url + "/named/a/", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/app/named/a"
