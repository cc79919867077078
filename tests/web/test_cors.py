"""CORS: responses that pages of trusted origins may read, and preflights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cors import CROSS, TRUSTED, ask, sharing
from tests.support.raw import POLLING, WEBSOCKET, Raw
from tests.support.site import serve
from tests.support.watched_store import WatchedStore

JSON = ("Accept", "application/json")


PAGE = ("Accept", "text/html")


ANSWERS: dict[str, tuple[str, str, int, list[tuple[str, str]]]] = {
    "page": ("GET", "/", 200, [PAGE]),
    "head of a page": ("HEAD", "/", 200, []),
    "change": ("POST", "/incr", 200, []),
    "redirection": ("POST", "/incr", 303, [PAGE]),
    "sign-in page": ("GET", "/account", 302, [PAGE]),
    "refusal for visitors": ("GET", "/account", 401, [JSON]),
    "refused change": ("POST", "/account/password", 401, [JSON]),
    "wrong fields": ("POST", "/login", 422, [JSON]),
    "not there": ("GET", "/nowhere", 404, [PAGE]),
    "posted to nowhere": ("POST", "/nowhere", 404, [JSON]),
    "no such method": ("DELETE", "/incr", 405, []),
    "file": ("GET", "/static/style.css", 200, []),
    "no such file": ("GET", "/static/nowhere.js", 404, []),
    "alive": ("GET", "/healthz", 200, []),
    "handshake": ("GET", POLLING, 200, []),
    "unknown id": ("GET", POLLING + "&sid=0-nobody", 400, []),
    "POST to an unknown id": ("POST", POLLING + "&sid=0-nobody", 400, []),
    "no protocol": ("GET", "/socket.io/?EIO=4", 400, []),
    "no such method of the protocol": ("PUT", POLLING, 400, []),
}


@pytest.mark.asvs("3.4.2")
@pytest.mark.parametrize("kind", ANSWERS)
async def test_a_trusted_page_may_read_every_response(tmp_path: Path, kind: str) -> None:
    """Pages, files, polls and errors, with credentials, and not by `*`."""
    method, path, status, headers = ANSWERS[kind]
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        answer = await ask(raw, method, path, ("Origin", TRUSTED), CROSS, *headers)
        assert answer.status == status
        assert sharing(answer) == {
            "allow-origin": TRUSTED,
            "allow-credentials": "true",
            "expose-headers": "Retry-After",
        }
        assert answer.all("Vary") == ["Origin"]


@pytest.mark.asvs("3.4.2")
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("origin", ["", "https://evil.example", "null"])
async def test_other_origins_may_read_no_response(tmp_path: Path, kind: str, origin: str) -> None:
    """Their responses have Vary: Origin too, for caches."""
    method, path, _, headers = ANSWERS[kind]
    sent = [*headers, *([("Origin", origin)] if origin else [])]
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        answer = await ask(raw, method, path, *sent)
        assert sharing(answer) == {}
        assert answer.all("Vary") == ["Origin"]
    async with serve(tmp_path / "none") as site, Raw(site.url) as raw:
        answer = await ask(raw, method, path, *sent)
        assert sharing(answer) == {}
        assert answer.all("Vary") == []


REFUSALS: dict[str, tuple[int, str, list[tuple[str, str]], bytes]] = {
    "too large": (413, "/login", [("Content-Length", "2001")], b""),
    "chunks too large": (
        413,
        "/login",
        [("Transfer-Encoding", "chunked")],
        b"7d1\r\n" + b"a" * 2001,
    ),
    "malformed chunk": (400, "/login", [("Transfer-Encoding", "chunked")], b"no\r\n"),
    "too large for the endpoint": (413, POLLING, [("Content-Length", "99000000")], b""),
    "malformed chunk of a packet": (400, POLLING, [("Transfer-Encoding", "chunked")], b"no\r\n"),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_a_trusted_page_may_read_why_its_body_is_refused(tmp_path: Path, kind: str) -> None:
    """Also if the server refuses the body before a handler runs; other origins may not read it."""
    status, path, headers, body = REFUSALS[kind]
    options: dict[str, Any] = {"trusted_origins": (TRUSTED,), "max_message_size": 2000}
    async with serve(tmp_path, **options) as site:
        for origin, allowed in ((TRUSTED, TRUSTED), ("https://evil.example", None)):
            async with Raw(site.url) as raw:
                if path == POLLING and allowed:
                    opened = await raw.ask(POLLING, ("Origin", origin))
                    path += "&sid=" + json.loads(opened.body[1:])["sid"]
                raw.write(path, ("Origin", origin), CROSS, *headers, method="POST")
                raw.writer.write(body)
                answer = await raw.answer()
                assert answer.status == (status if allowed or path == "/login" else 403)
                assert sharing(answer).get("allow-origin") == allowed
                assert answer.all("Vary") == ["Origin"]
                await raw.until_end()


async def test_a_trusted_page_may_read_that_the_store_is_down(tmp_path: Path) -> None:
    """The 503 of a page and of a handshake, and their Retry-After."""
    store = WatchedStore()
    async with serve(tmp_path, store=store, trusted_origins=(TRUSTED,)) as site:
        store.down = True
        for method, path in (("POST", "/incr"), ("GET", POLLING)):
            async with Raw(site.url) as raw:
                answer = await ask(raw, method, path, ("Origin", TRUSTED), CROSS)
            assert answer.status == 503
            assert sharing(answer)["allow-origin"] == TRUSTED
            assert answer.all("Retry-After") == ["1"]


@pytest.mark.parametrize("path", ["/", "/login", "/nowhere", "/static/style.css", "/register"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("wanted", ["", "x-tenant", "Content-Type, X-Tenant,authorization"])
async def test_a_preflight_of_a_trusted_page_is_answered(
    tmp_path: Path, path: str, method: str, wanted: str
) -> None:
    """With 204 for every path; no session is loaded or created."""
    store = WatchedStore()
    headers = [("Origin", TRUSTED), CROSS, ("Access-Control-Request-Method", method)]
    if wanted:
        headers.append(("Access-Control-Request-Headers", wanted))
    options: dict[str, Any] = {"trusted_origins": (TRUSTED,), "registration": "closed"}
    async with serve(tmp_path, store=store, **options) as site, Raw(site.url) as raw:
        store.asked = 0
        answer = await raw.ask(path, *headers, method="OPTIONS")
        allowed = sharing(answer)
        assert answer.status == 204
        assert method in allowed["allow-methods"].split(", ")
        assert allowed.get("allow-headers", "") == wanted
        assert allowed["allow-origin"] == TRUSTED
        assert allowed["allow-credentials"] == "true"
        assert int(allowed["max-age"]) > 0
        assert set(answer.all("Vary")) == {"Origin", "Access-Control-Request-Headers"}
        assert answer.all("Set-Cookie") == []
        assert (store.asked, store.made) == (0, set())


@pytest.mark.parametrize("path", ["/socket.io/", POLLING, POLLING + "&sid=0-nobody", WEBSOCKET])
async def test_a_preflight_of_the_socket_endpoint_is_answered(tmp_path: Path, path: str) -> None:
    """The client's `extraHeaders` are allowed."""
    headers = [
        ("Origin", TRUSTED),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-tenant"),
    ]
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, *headers, method="OPTIONS")
        assert answer.status == 204
        assert sharing(answer)["allow-headers"] == "content-type,x-tenant"
        assert (await raw.ask("/healthz")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")],
        [("Origin", "null"), ("Access-Control-Request-Method", "POST")],
        [("Access-Control-Request-Method", "POST")],
        [("Origin", TRUSTED), ("Origin", TRUSTED), ("Access-Control-Request-Method", "POST")],
    ],
)
@pytest.mark.parametrize("path", ["/", "/nowhere", POLLING])
async def test_a_preflight_of_another_origin_is_refused(
    tmp_path: Path, path: str, headers: list[tuple[str, str]]
) -> None:
    """It gets an error and no Access-Control header."""
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, *headers, method="OPTIONS")
        assert answer.status in (400, 403, 404, 405)
        assert sharing(answer) == {}


@pytest.mark.parametrize("wanted", ["x tenant", "x-tenant;", "\xa0x", "a,,b", ",", "a\x85"])
async def test_a_malformed_list_of_headers_is_not_echoed(tmp_path: Path, wanted: str) -> None:
    """Access-Control-Allow-Headers holds header names only (RFC 9110, 5.1)."""
    headers = [("Origin", TRUSTED), ("Access-Control-Request-Method", "GET")]
    headers.append(("Access-Control-Request-Headers", wanted))
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        answer = await raw.ask("/", *headers, method="OPTIONS")
        assert answer.status == 204
        assert "allow-headers" not in sharing(answer)


async def test_options_without_preflight_headers_is_refused(tmp_path: Path) -> None:
    """405 for a page, 400 for the socket endpoint."""
    async with serve(tmp_path, trusted_origins=(TRUSTED,)) as site, Raw(site.url) as raw:
        origin = ("Origin", TRUSTED)
        assert (await raw.ask("/", origin, method="OPTIONS")).status == 405
        assert (await raw.ask(POLLING, origin, method="OPTIONS")).status == 400
