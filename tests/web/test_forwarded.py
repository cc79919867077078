"""X-Forwarded-* headers of trusted proxies and of other clients."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from tornado.httputil import HTTPServerRequest

from app.settings import Network
from app.web.forwarded import apply_forwarded
from tests.support.requests import request
from tests.support.site import serve
from tests.support.visitor import Visitor

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("fe80::/10"))


def forwarded(
    *headers: tuple[str, str],
    address: str = "10.0.0.1",
    protocol: str = "http",
    proxies: tuple[Network, ...] = PROXIES,
) -> HTTPServerRequest:
    """Return a request from this peer after its forwarded headers were looked at."""
    made = request(*headers, address=address, protocol=protocol)
    apply_forwarded(made, proxies)
    return made


def client(forwarded_for: str, address: str = "10.0.0.1") -> str | None:
    """Return whom the server takes for the client."""
    return forwarded(("X-Forwarded-For", forwarded_for), address=address).remote_ip


CLAIMS = (
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
)


@pytest.mark.express("D5")
@pytest.mark.parametrize("address", ["192.0.2.1", "11.0.0.1", "::1", "2001:db8::1", "0.0.0.0", ""])
@pytest.mark.attack("A22")
def test_headers_of_other_clients_are_ignored(address: str) -> None:
    """Only a trusted proxy may set them."""
    made = forwarded(*CLAIMS, address=address)
    assert (made.remote_ip, made.protocol, made.host) == (address, "http", "example.com")
    assert made.headers["Host"] == "example.com"


@pytest.mark.express("D3")
def test_without_trusted_proxies_headers_are_ignored() -> None:
    """The default."""
    made = forwarded(*CLAIMS, proxies=())
    assert (made.remote_ip, made.protocol, made.host) == ("10.0.0.1", "http", "example.com")


@pytest.mark.express("D1")
def test_headers_of_a_trusted_proxy_count() -> None:
    """Address, scheme and host are those of the headers."""
    made = forwarded(*CLAIMS)
    assert (made.remote_ip, made.protocol, made.host) == ("203.0.113.9", "https", "evil.example")
    assert made.headers["Host"] == "evil.example"


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("1.1.1.1, 203.0.113.9", "203.0.113.9"),  # the first is the client's own claim
        ("1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8::1, fd00::2", "2001:db8::1"),
        ("1.1.1.1 ,\t203.0.113.9", "203.0.113.9"),
        ("", "10.0.0.1"),
        ("unknown", "10.0.0.1"),
        ("1.1.1.1, <script>", "10.0.0.1"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("1.1.1.1:80, 203.0.113.9:4711, 10.0.0.2:4712", "203.0.113.9"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("2001:db8::7, [fd00::2]:51234", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:4711", "203.0.113.9"),
        ("2001:db8::7%eth0", "2001:db8::7"),
        ("203.0.113.9, fe80::2%eth0", "203.0.113.9"),
        ("[2001:db8::7%eth0]:443", "2001:db8::7"),
        ("203.0.113.9:", "10.0.0.1"),
        ("203.0.113.9:http", "10.0.0.1"),
        ("203.0.113.9:1:2", "10.0.0.1"),
        ("203.0.113.9:123456", "10.0.0.1"),
        ("203.0.113.9%eth0", "10.0.0.1"),
        ("[203.0.113.9]:80", "10.0.0.1"),
        ("[2001:db8::7", "10.0.0.1"),
        ("2001:db8::7]:443", "10.0.0.1"),
        ("[2001:db8::7]443", "10.0.0.1"),
        ("[]:443", "10.0.0.1"),
        ("2001:db8::7%\xa0", "10.0.0.1"),
        ("2001:db8::7%", "10.0.0.1"),
        ("unknown, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, unknown", "10.0.0.1"),
        ("_hidden:443", "10.0.0.1"),
        ("0x7f.0.0.1", "10.0.0.1"),
        ("203.0.113.09", "10.0.0.1"),
        ("1.1.1.1,", "10.0.0.1"),
        ("1.1.1.1, 999.1.1.1", "10.0.0.1"),
        ("\xb9.1.1.1", "10.0.0.1"),
        ("1.1.1.1,\xa0203.0.113.9", "10.0.0.1"),
        ("1.1.1.1,203.0.113.9\x85", "10.0.0.1"),
        ("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_trusted_proxy(
    forwarded_for: str, expected: str
) -> None:
    """The list is read from the right; a client may have forged the rest."""
    assert client(forwarded_for) == expected


def test_several_headers_are_one_list() -> None:
    """A client's own header comes before the one that the proxy adds."""
    made = forwarded(("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.9"))
    assert made.remote_ip == "203.0.113.9"


@pytest.mark.parametrize("address", ["fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"])
def test_a_proxy_may_have_any_form_of_address(address: str) -> None:
    """IPv6 with a zone, and IPv4-mapped IPv6."""
    assert client("203.0.113.9", address) == "203.0.113.9"


def test_a_zone_does_not_make_an_address_trusted() -> None:
    """The zone is no part of the address."""
    assert client("203.0.113.9", "2001:db8::1%10.0.0.1") == "2001:db8::1%10.0.0.1"


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("wss", "https"),
        ("https, ws", "http"),
        ("ftp", "http"),
        ("", "http"),
        ("https;", "http"),
        ("https\xa0", "http"),
        ("\x85https", "http"),
        ("http,\t https", "https"),
    ],
)
def test_only_http_and_https_are_schemes(protocol: str, expected: str) -> None:
    """Those of the nearest proxy, also as Traefik writes them; any other value is ignored."""
    assert forwarded(("X-Forwarded-Proto", protocol)).protocol == expected


def test_the_nearest_proxys_host_counts() -> None:
    """The last of several; none at all leaves the Host header."""
    assert forwarded(("X-Forwarded-Host", "a.example, b.example")).host == "b.example"
    assert forwarded(("X-Forwarded-Host", "")).host == "example.com"


@pytest.mark.express("D4", "E6")
@pytest.mark.parametrize("trusted", [True, False])
async def test_the_cookie_is_secure_when_a_trusted_proxy_says_https(
    tmp_path: Path, trusted: bool
) -> None:
    """By a real connection; from another client the header is ignored."""
    proxies = (ip_network("127.0.0.0/8"),) if trusted else ()
    async with (
        serve(tmp_path, trusted_proxies=proxies) as site,
        Visitor(site.url, **{"X-Forwarded-Proto": "https"}) as visitor,
        visitor.http.post(site.url + "/incr") as answer,
    ):
        header = answer.headers["Set-Cookie"]
    assert header.startswith("__Host-latchkey=" if trusted else "latchkey=")
    assert ("Secure" in header) == trusted
