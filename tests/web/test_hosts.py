"""The hosts that are served; all others get 421, against DNS rebinding."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from app.settings.addresses import hosts
from app.web.hosts import Hosts
from tests.support.raw import POLLING, UPGRADE, WEBSOCKET, Answer, Raw
from tests.support.site import serve
from tests.support.watched_store import WatchedStore

PROXIES = (ip_network("127.0.0.0/8"),)


async def ask(url: str, host: str, path: str = "/", *headers: tuple[str, str]) -> Answer:
    """Send a request with this Host header and return the answer."""
    async with Raw(url) as raw:
        raw.netloc = host
        return await raw.ask(path, *headers)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8888",
        "localhost.",
        "app.localhost:80",
        "127.0.0.1",
        "192.168.1.7:8888",
        "[::1]:8888",
        "[2001:DB8::7]",
        "127.0.0.1:",
    ],
)
def test_addresses_and_localhost_are_served_in_any_case(host: str) -> None:
    """With configured names too, for health checks and development."""
    for names in ("", "example.com", "*.example.com"):
        assert host in Hosts(hosts(names))


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8888",
        "evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "127.1",
        "0x7f000001",
        "2130706433",
        "127.0.0.01",
        "::1",
        "[127.0.0.1]",
        "[::1",
        "[::1%eth0]",
        "[::1]8888",
        "localhost:http",
        "localhost:8888:1",
        "localhost..",
        ".localhost",
        "a..localhost",
        "user@localhost",
        "localhost/x",
        "localhost,evil.example",
        "localhost evil.example",
        "\xa0localhost",
        "localhost\x85",
        "loc\xe4lhost",
        "%6cocalhost",
    ],
)
def test_other_and_malformed_hosts_are_not_served(host: str) -> None:
    """With configured names too."""
    assert host not in Hosts(())
    assert host not in Hosts(hosts("example.com,*.example.org"))


@pytest.mark.parametrize(
    ("names", "served", "refused"),
    [
        ("example.com", ["example.com", "Example.COM:8443", "example.com."], ["a.example.com"]),
        (
            "*.example.com",
            ["a.example.com", "a.b.example.com:1"],
            ["example.com", "aexample.com", ".example.com", "a.example.com.evil.example"],
        ),
        ("a.de,*.b.de:443", ["a.de", "x.b.de"], ["b.de", "x.a.de"]),
        ("my_app", ["my_app:8888"], ["my-app"]),
        ("*", ["evil.example", "a.b.c:1"], ["", "a..b", "a b"]),
    ],
)
def test_configured_names_are_served(names: str, served: list[str], refused: list[str]) -> None:
    """Exact names, and with `*.` all names below, with any port."""
    configured = Hosts(hosts(names))
    assert [host for host in served if host not in configured] == []
    assert [host for host in refused if host in configured] == []


@pytest.mark.asvs("3.5.4")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/login",
        "/nowhere",
        "/static/style.css",
        "/healthz",
        "/readyz",
        "/metrics",
        POLLING,
    ],
)
@pytest.mark.attack("A20")
async def test_an_unknown_host_gets_421(tmp_path: Path, path: str) -> None:
    """Pages, files, errors and polls, with an Origin of that host; a sentence names the flag."""
    origin = ("Origin", "http://evil.example:80")
    async with serve(tmp_path) as site:
        answer = await ask(site.url, "evil.example:80", path, origin)
        assert answer.status == 421
        assert "'evil.example:80' is not served here" in answer.body
        assert "--allowed-hosts" in answer.body
        assert answer.all("Content-Type") == ["text/plain; charset=UTF-8"]
        assert answer.all("X-Content-Type-Options") == ["nosniff"]
    async with serve(tmp_path, allowed_hosts=("evil.example",)) as site:
        assert (await ask(site.url, "evil.example:80", path, origin)).status in (200, 404)


async def test_a_websocket_of_another_host_gets_421(tmp_path: Path) -> None:
    """Before the 101."""
    headers = (*UPGRADE.items(), ("Origin", "http://evil.example"))
    async with serve(tmp_path) as site:
        assert (await ask(site.url, "evil.example", WEBSOCKET, *headers)).status == 421
        assert len(site.services.connections) == 0
    async with serve(tmp_path, allowed_hosts=("evil.example",)) as site:
        assert (await ask(site.url, "evil.example", WEBSOCKET, *headers)).status == 101


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_another_host_changes_nothing(tmp_path: Path, method: str) -> None:
    """No session, no cookie; the body is not waited for."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        raw.netloc = "evil.example"
        length = ("Content-Length", "5") if method in ("POST", "PUT") else ("X-A", "b")
        raw.write("/incr", length, ("Origin", "http://other.example"), method=method)
        head = (await raw.reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 421 ")
        assert "set-cookie" not in head.lower()
        assert not store.made


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET /healthz HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", b"421"),
        (b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
    ],
)
async def test_a_request_may_lack_a_host_in_http_1_0_only(
    tmp_path: Path, request_head: bytes, status: bytes
) -> None:
    """Health checks of load balancers send such requests, browsers never do."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        raw.writer.write(request_head)
        assert (await raw.reader.readline()).split()[1] == status


@pytest.mark.parametrize(
    ("host", "forwarded", "trusted", "status"),
    [
        ("127.0.0.1", "evil.example", True, 421),
        ("127.0.0.1", "evil.example", False, 200),
        ("backend", "example.com", True, 200),
        ("backend", "example.com", False, 421),
        ("backend", "evil.example, example.com:443", True, 200),
        ("example.com", "\xa0example.com", True, 421),
        ("example.com", "example.com/", True, 421),
    ],
)
async def test_the_host_that_a_trusted_proxy_saw_counts(
    tmp_path: Path, host: str, forwarded: str, trusted: bool, status: int
) -> None:
    """X-Forwarded-Host replaces the Host header only if the proxy is trusted."""
    proxies = PROXIES if trusted else ()
    async with serve(tmp_path, trusted_proxies=proxies, allowed_hosts=("example.com",)) as site:
        claim = ("X-Forwarded-Host", forwarded)
        assert (await ask(site.url, host, "/healthz", claim)).status == status


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"trusted_proxies": PROXIES}, True),
        ({"trusted_proxies": PROXIES, "allowed_hosts": ("example.com",)}, False),
        ({"trusted_proxies": PROXIES, "allowed_hosts": ("*",)}, False),
        ({}, False),
    ],
)
async def test_a_start_behind_a_proxy_warns_if_no_name_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], warned: bool
) -> None:
    """Health checks by address would succeed while every visitor gets 421."""
    async with serve(tmp_path, **settings):
        lines = [message for message in caplog.messages if "--allowed-hosts" in message]
    assert len(lines) == warned


async def test_the_log_names_the_host_and_the_flag(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line without traceback, which the client cannot forge."""
    async with serve(tmp_path) as site:
        await ask(site.url, "evil.example")
    (line,) = [record.getMessage() for record in caplog.records if "421" in record.getMessage()]
    assert "'evil.example' is not served here; add it with --allowed-hosts" in line
