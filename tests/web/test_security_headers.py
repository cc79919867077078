"""The security headers of every kind of response."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw import POLLING, WEBSOCKET, Answer, Raw
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.watched_store import WatchedStore

PAGE = ("Accept", "text/html")
FOREIGN = ("Origin", "https://evil.example")

ANSWERS = {
    "page": ("/", 200, [PAGE]),
    "form": ("/login", 200, [PAGE]),
    "redirection": ("/account", 302, [PAGE]),
    "refusal in JSON": ("/account", 401, [("Accept", "application/json")]),
    "script": ("/static/session_ended.js", 200, []),
    "not there": ("/nowhere", 404, [PAGE]),
    "no such file": ("/static/nowhere.js", 404, []),
    "alive": ("/healthz", 200, []),
    "ready": ("/readyz", 200, []),
    "poll": (POLLING, 200, []),
    "poll of a stranger": (POLLING + "&sid=0-nobody", 400, []),
    "poll from another site": (POLLING, 403, [FOREIGN]),
    "no protocol": ("/socket.io/?EIO=4", 400, []),
}


def header(answer: Answer, name: str) -> str:
    (value,) = answer.all(name)
    return value


def check(answer: Answer, resources: str = "same-origin") -> None:
    policy = {
        part.split()[0]: part.split()[1:]
        for part in header(answer, "Content-Security-Policy").split(";")
    }
    for directive in ("default-src", "object-src", "frame-ancestors", "base-uri"):
        assert policy[directive] == ["'none'"], directive
    for directive in ("script-src", "style-src", "form-action", "connect-src"):
        assert policy[directive][0] == "'self'"
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:"} & set(policy[directive])
    assert header(answer, "X-Content-Type-Options") == "nosniff"
    assert header(answer, "Referrer-Policy") == "same-origin"
    assert header(answer, "Cross-Origin-Opener-Policy") == "same-origin"
    assert header(answer, "Cross-Origin-Resource-Policy") == resources
    assert answer.all("Server") == []


@pytest.mark.asvs("3.2.1", "3.4.3", "3.4.4", "3.4.5", "3.4.6", "3.4.8", "3.5.8")
@pytest.mark.parametrize("kind", ANSWERS)
async def test_every_response_has_security_headers(tmp_path: Path, kind: str) -> None:
    """Pages, redirections, files, errors, polls and refused polls."""
    path, status, headers = ANSWERS[kind]
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, *headers)
        assert answer.status == status
        # files are the same for everybody, and pages of trusted origins may load them
        check(answer, "cross-origin" if path.startswith("/static/") else "same-origin")
        assert answer.all("Strict-Transport-Security") == []


@pytest.mark.asvs("3.4.1")
@pytest.mark.parametrize("kind", ANSWERS)
async def test_every_response_by_https_has_hsts(tmp_path: Path, kind: str) -> None:
    """For a year, with subdomains; the policy names the socket with wss."""
    path, _, headers = ANSWERS[kind]
    proxies = (ip_network("127.0.0.1/32"), ip_network("::1/128"))
    async with serve(tmp_path, trusted_proxies=proxies) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, *headers, ("X-Forwarded-Proto", "https"))
        assert header(answer, "Strict-Transport-Security") == "max-age=31536000; includeSubDomains"
        assert f"wss://{raw.netloc}" in header(answer, "Content-Security-Policy")


@pytest.mark.asvs("3.4.1", "3.7.4")
@pytest.mark.parametrize(
    ("scope", "age", "value"),
    [
        ("host", 31_536_000, "max-age=31536000"),
        ("preload", 63_072_000, "max-age=63072000; includeSubDomains; preload"),
        ("subdomains", 0, "max-age=0; includeSubDomains"),
    ],
)
async def test_the_scope_of_hsts_is_a_setting(
    tmp_path: Path, scope: str, age: int, value: str
) -> None:
    """Of pages, files and polls alike."""
    proxies = (ip_network("127.0.0.1/32"), ip_network("::1/128"))
    async with (
        serve(tmp_path, trusted_proxies=proxies, hsts_scope=scope, hsts_max_age=age) as site,
        Raw(site.url) as raw,
    ):
        for path in ("/login", "/static/style.css", POLLING):
            answer = await raw.ask(path, ("X-Forwarded-Proto", "https"))
            assert header(answer, "Strict-Transport-Security") == value


@pytest.mark.asvs("3.4.4")
@pytest.mark.parametrize(("headers", "status"), [((), 101), ((FOREIGN,), 403)])
async def test_the_handshake_of_a_websocket_has_security_headers(
    tmp_path: Path, headers: tuple[tuple[str, str], ...], status: int
) -> None:
    """The 101 and the refusal before it."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.websocket(*headers)
        assert answer.status == status
        check(answer)


@pytest.mark.parametrize("path", ["/incr", "/login", "/account/password", POLLING, WEBSOCKET])
async def test_an_unsupported_method_gets_security_headers(tmp_path: Path, path: str) -> None:
    """405, or 400 at the socket endpoint."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, method="PUT", body=b"")
        assert answer.status in (400, 405)
        check(answer)


async def test_an_error_of_the_store_gets_security_headers(tmp_path: Path) -> None:
    """503 of a page and of a handshake."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        store.down = True
        for path in ("/", POLLING):
            async with Raw(site.url) as raw:
                answer = await raw.ask(path, ("Cookie", visitor.cookie))
                assert answer.status == 503
                check(answer)


@pytest.mark.asvs("3.4.1")
async def test_what_is_no_request_has_those_that_matter(tmp_path: Path) -> None:
    """The server itself refuses bad HTTP, before any handler: nothing to sniff, frame or run."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        raw.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n")
        answer = await raw.answer()
        assert answer.status == 400
        assert header(answer, "X-Content-Type-Options") == "nosniff"
        assert "default-src 'none'" in header(answer, "Content-Security-Policy")
        assert "frame-ancestors 'none'" in header(answer, "Content-Security-Policy")


@pytest.mark.parametrize("path", ["/", "/account", "/login", "/register"])
async def test_pages_of_a_person_are_kept_by_no_cache(site: Site, ann: Visitor, path: str) -> None:
    """no-store on responses with the user's name, on errors and on polls."""
    async with Raw(site.url) as raw:
        await ann.sign_up("ann")
        for asked in (path, "/nowhere", POLLING):
            answer = await raw.ask(asked, ("Cookie", ann.cookie), PAGE)
            assert "no-store" in header(answer, "Cache-Control"), asked


@pytest.mark.asvs("3.5.7")
async def test_scripts_are_the_same_for_everybody(ann: Visitor, visitor: Visitor) -> None:
    """What is served as a script holds nothing of who asks, so no other site learns it."""
    await ann.sign_up("ann")
    for path in sorted((ROOT / "static").glob("*.js")):
        asked = f"/static/{path.name}"
        assert await ann.get(asked) == await visitor.get(asked) == (200, path.read_text())
