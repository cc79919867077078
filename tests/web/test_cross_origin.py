"""Requests, frames and cookies of pages of other origins."""

from __future__ import annotations

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketHandler

from app.settings import Settings
from app.settings.addresses import frame_ancestors, hosts, origins
from app.web.session_lookup import SessionLookup
from app.web.start_warnings import cookie_warning
from tests.support.cors import CROSS, TRUSTED, ask, sharing
from tests.support.demo.session import BaseWebSocket
from tests.support.fork import fork
from tests.support.raw import POLLING, WEBSOCKET, Answer, Raw
from tests.support.site import serve


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("https://a.example.org", "127.0.0.1", 200),
        ("https://example.org", "127.0.0.1", 403),
        ("capacitor://localhost", "127.0.0.1", 200),
        ("tauri://localhost", "127.0.0.1", 200),
        ("chrome-extension://abcdefghijklmnopabcdefghijklmnop", "127.0.0.1", 200),
        ("capacitor://evil", "127.0.0.1", 403),
        ("https://a.example.org", "evil.example", 421),
    ],
)
async def test_patterns_and_apps_may_be_trusted(
    tmp_path: Path, origin: str, host: str, status: int
) -> None:
    """For pages and the socket endpoint; an unknown host is refused first."""
    trusted = origins(
        "https://*.example.org,capacitor://localhost,tauri://localhost,"
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
    )
    async with serve(tmp_path, trusted_origins=trusted) as site, Raw(site.url) as raw:
        raw.netloc = host
        for method, path in (("POST", "/incr"), ("GET", POLLING)):
            answer = await ask(raw, method, path, ("Origin", origin), CROSS)
            assert answer.status == status
            shared = origin if status == 200 else None
            assert status == 421 or sharing(answer).get("allow-origin") == shared
            if status != 200:
                break


VERDICTS: dict[str, tuple[bool, list[tuple[str, str]]]] = {
    "no browser": (True, []),
    "same origin, another port": (
        True,
        [("Origin", "https://example.com:8443"), ("Sec-Fetch-Site", "same-origin")],
    ),
    "same origin, null": (True, [("Origin", "null"), ("Sec-Fetch-Site", "same-origin")]),
    "own": (True, [("Origin", "https://example.com")]),
    "own, typed in": (True, [("Origin", "https://example.com"), ("Sec-Fetch-Site", "none")]),
    "trusted": (True, [("Origin", TRUSTED), CROSS]),
    "own, port written": (True, [("Origin", "https://example.com:443")]),
    "own without encryption": (False, [("Origin", "http://example.com")]),
    "another port": (False, [("Origin", "https://example.com:8443")]),
    "foreign": (False, [("Origin", "https://evil.example")]),
    "foreign, typed in": (False, [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "none")]),
    "null": (False, [("Origin", "null")]),
    "empty": (False, [("Origin", "")]),
    "two": (False, [("Origin", TRUSTED), ("Origin", TRUSTED)]),
    "two, same origin": (
        False,
        [("Origin", "https://example.com"), ("Origin", "x"), ("Sec-Fetch-Site", "same-origin")],
    ),
    "own, cross-site": (False, [("Origin", "https://example.com"), CROSS]),
    "same site": (False, [("Sec-Fetch-Site", "same-site")]),
    "cross-site": (False, [CROSS]),
    "unknown site": (False, [("Sec-Fetch-Site", "same-origin\xa0")]),
    "two sites": (False, [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin")]),
    "no URL": (False, [("Origin", "https://[")]),
}


class PlainSocket(SessionLookup[Any], WebSocketHandler):
    """A WebSocketHandler of Tornado's with `SessionLookup`."""


class OwnSocket(BaseWebSocket):
    """A plain WebSocket of ours."""


@pytest.mark.asvs("3.5.1")
@pytest.mark.parametrize("kind", VERDICTS)
@pytest.mark.attack("A18")
async def test_pages_and_handshakes_apply_the_same_rule(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a proxy that passes on the host without its port, as `Host $host` in nginx does."""
    welcome, headers = VERDICTS[kind]
    routes = [("/ws/plain", PlainSocket), ("/ws/base", OwnSocket)]
    options: dict[str, Any] = {
        "trusted_proxies": (ip_network("127.0.0.1"),),
        "trusted_origins": (TRUSTED,),
        "allowed_hosts": ("example.com",),
    }
    statuses = {}
    modules = fork(monkeypatch, routes=routes)
    async with serve(tmp_path, modules=modules, **options) as site:
        sent = [("X-Forwarded-Proto", "https"), *headers]
        expected = {"/incr": 200, "/logout": 204, "/nowhere": 404, "polling": 200}
        expected |= dict.fromkeys(("websocket", "/ws/plain", "/ws/base"), 101)
        for path in expected:
            async with Raw(site.url) as raw:
                raw.netloc = "example.com"
                if path == "websocket":
                    answer = await raw.websocket(*sent)
                elif path.startswith("/ws/"):
                    answer = await raw.websocket(*sent, path=path)
                elif path == "polling":
                    answer = await raw.ask(POLLING, *sent)
                else:
                    answer = await raw.ask(path, *sent, method="POST", body=b"")
                statuses[path] = answer.status
    assert statuses == (expected if welcome else dict.fromkeys(expected, 403))


def directives(answer: Answer) -> dict[str, str]:
    (policy,) = answer.all("Content-Security-Policy")
    parts = [part.strip().partition(" ") for part in policy.split(";")]
    return {name: sources for name, _, sources in parts}


@pytest.mark.asvs("3.4.6")
@pytest.mark.parametrize(
    ("setting", "policy", "option"),
    [
        ("", "'none'", ["DENY"]),
        ("self", "'self'", ["SAMEORIGIN"]),
        (TRUSTED, TRUSTED, []),
        (f"self,{TRUSTED},https://*.b.example", f"'self' {TRUSTED} https://*.b.example", []),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/style.css", "/socket.io/"])
@pytest.mark.attack("A21")
async def test_frame_ancestors_is_a_setting(
    tmp_path: Path, setting: str, policy: str, option: list[str], path: str
) -> None:
    """The policy names the origins, and X-Frame-Options agrees."""
    async with serve(tmp_path, frame_ancestors=frame_ancestors(setting)) as site:
        async with Raw(site.url) as raw:
            answer = await raw.ask(path)
        assert directives(answer)["frame-ancestors"] == policy
        assert directives(answer)["default-src"] == "'none'"
        assert answer.all("X-Frame-Options") == option


PROXIES = {"trusted_proxies": (ip_network("127.0.0.1"),)}


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({}, None),
        ({"trusted_origins": origins(TRUSTED)}, "--cookie-samesite none"),
        ({"trusted_origins": origins(TRUSTED), "cookie_samesite": "strict"}, "-samesite none"),
        ({"trusted_origins": origins("https://*.example.org")}, "--cookie-samesite none"),
        ({"trusted_origins": origins("capacitor://localhost")}, "--cookie-samesite none"),
        ({"frame_ancestors": frame_ancestors(TRUSTED)}, "--cookie-samesite none"),
        ({"trusted_origins": origins(TRUSTED), "cookie_samesite": "none"}, "--trusted-proxies"),
        ({"trusted_origins": origins(TRUSTED), "cookie_samesite": "none", **PROXIES}, None),
        (
            {
                "trusted_origins": origins(TRUSTED),
                "cookie_samesite": "none",
                "cookie_secure": "yes",
            },
            None,
        ),
        ({"trusted_origins": origins(TRUSTED), "allowed_hosts": hosts("example.org")}, None),
        ({"trusted_origins": origins(TRUSTED), "allowed_hosts": hosts("*.example.org")}, None),
        ({"trusted_origins": origins(TRUSTED), "allowed_hosts": hosts("a.com")}, "-samesite none"),
        ({"trusted_origins": origins("http://localhost:3000,http://127.0.0.1:3000")}, None),
        ({"trusted_origins": origins("http://127.0.0.1:3000")}, None),
        ({"trusted_origins": origins("http://localhost:3000")}, "call this server as localhost"),
        ({"trusted_origins": origins("http://localhost")}, "--allowed-hosts localhost"),
        (
            {"trusted_origins": origins("http://[::1]:3000,http://a.localhost")},
            "--allowed-hosts [::1]",
        ),
        ({"frame_ancestors": frame_ancestors("http://localhost:3000")}, "as localhost too"),
        ({"trusted_origins": origins("http://127.0.0.1:3000"), "host": ("127.0.0.1",)}, None),
        ({"trusted_origins": origins("http://localhost:3000"), "host": ("localhost",)}, None),
        ({"trusted_origins": origins("http://localhost:3000"), "host": ("0.0.0.0",)}, None),
        (
            {
                "trusted_origins": origins("http://localhost:3000"),
                "allowed_hosts": hosts("localhost"),
            },
            None,
        ),
        (
            {
                "trusted_origins": origins("http://a.localhost"),
                "allowed_hosts": hosts("*.localhost"),
            },
            None,
        ),
        (
            {
                "trusted_origins": origins("http://localhost:3000"),
                "allowed_hosts": hosts("example.com"),
                **PROXIES,
            },
            "--cookie-samesite none",
        ),
        ({"trusted_origins": origins("http://localhost:3000"), **PROXIES}, None),
        ({"trusted_origins": origins("chrome-extension://abcdefghijklmnop")}, None),
        ({"frame_ancestors": frame_ancestors("self")}, None),
    ],
)
async def test_a_start_warns_if_browsers_send_no_cookies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], remedy: str | None
) -> None:
    """One line with the remedy; none if the cookie reaches the server."""
    warning = cookie_warning(Settings(**settings))
    async with serve(tmp_path, **settings):
        pass
    lines = [record.getMessage() for record in caplog.records if "cookie" in record.getMessage()]
    if remedy is None:
        assert (warning, lines) == (None, [])
    else:
        assert lines == [warning]
        assert remedy in lines[0]


async def test_a_client_that_keeps_no_cookies_has_a_session_of_its_own(tmp_path: Path) -> None:
    """Without `withCredentials` a browser drops the cookie; polling works all the same."""
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        origin = ("Origin", TRUSTED)
        opened = await raw.ask(POLLING, origin, CROSS)
        polling = POLLING + "&sid=" + json.loads(opened.body[1:])["sid"]
        for body in (b"40", b'420["incr"]', b'421["incr"]'):
            answer = await raw.ask(polling, origin, CROSS, method="POST", body=body)
            assert (answer.status, sharing(answer)["allow-origin"]) == (200, TRUSTED)
        answer = await raw.ask(polling, origin, CROSS)
        assert "431[2]" in answer.body


async def test_a_trusted_page_without_credentials_upgrades_its_own_connection(
    tmp_path: Path,
) -> None:
    """Its polls have no cookie, its WebSocket has one that an earlier WebSocket was given.

    It stays on the session of its connection. The same from this site's own page, or to a
    connection that has shown its cookie, is somebody else's and is refused.
    """
    async with serve(tmp_path, trusted_origins=origins(TRUSTED)) as site:
        origin = ("Origin", TRUSTED)
        async with Raw(site.url) as raw:
            other = ("Cookie", (await raw.websocket(origin)).cookie)
        for shows_cookie, headers, status in (
            (False, [origin, other], 101),
            (False, [other], 400),
            (True, [origin, other], 400),
        ):
            async with Raw(site.url) as poll, Raw(site.url) as raw:
                opened = await poll.ask(POLLING, origin)
                sid = json.loads(opened.body[1:])["sid"]
                cookie = [("Cookie", opened.cookie)] if shows_cookie else []
                path = f"&sid={sid}"
                answer = await poll.ask(POLLING + path, origin, *cookie, method="POST", body=b"40")
                assert answer.body == "ok"
                upgrade = await raw.websocket(*headers, path=WEBSOCKET + path)
                assert upgrade.status == status
                if status == 101:
                    raw.send("2probe")
                    assert await raw.receive() == "3probe"
