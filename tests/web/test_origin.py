"""The rule for the Origin of a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings.addresses import origins
from app.web.cors import trusted_origin
from app.web.origin import Origins, origin_error
from tests.support.raw import Raw
from tests.support.requests import request
from tests.support.site import serve

TRUSTED = ("https://friend.example",)


def refused(
    *origins: str,
    site: str | None = None,
    protocol: str = "https",
    host: str = "example.com",
    trusted: tuple[str, ...] = TRUSTED,
) -> bool:
    """Tell whether a request with these headers is refused."""
    headers = [("Origin", origin) for origin in origins]
    if site is not None:
        headers.append(("Sec-Fetch-Site", site))
    asked = request(*headers, protocol=protocol, host=host)
    return origin_error(asked, Origins(trusted).__contains__) is not None


def test_a_request_without_origin_is_allowed() -> None:
    """A request without Origin is not from a page of another site."""
    assert not refused()
    assert not refused(site="none")


def test_the_own_origin_is_allowed() -> None:
    """In upper or lower case, and with the port of the Host header."""
    assert not refused("https://example.com", site="same-origin")
    assert not refused("https://EXAMPLE.com")
    assert not refused("https://example.com", host="Example.COM")
    assert not refused("https://example.com:8443", host="example.com:8443")
    assert not refused("http://[::1]:8888", host="[::1]:8888", protocol="http")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://example.com.evil.example",
        "https://evil-example.com",
        "https://sub.example.com",
        "https://example.com:8443",
        "https://example.com@evil.example",
        "https://evil.example/example.com",
        "https://evil.example#example.com",
        "https://evil.example\\@example.com",
        "null",
        "",
        "example.com",
        "//example.com",
        "file://",
        "chrome-extension://example.com",
        "ftp://example.com",
        "https://[::1",
        "https://",
    ],
)
@pytest.mark.parametrize("site", [None, "cross-site", "none"])
@pytest.mark.attack("A18")
def test_another_origin_is_refused(origin: str, site: str | None) -> None:
    """Also a similar one."""
    assert refused(origin, site=site)


@pytest.mark.parametrize("origin", ["https://example.com:8443", "null", "https://other.example"])
def test_sec_fetch_site_same_origin_is_allowed(origin: str) -> None:
    """A proxy may have changed the Host header; no script can change Sec-Fetch-Site."""
    assert not refused(origin, site="same-origin")
    assert refused(origin, origin, site="same-origin")


@pytest.mark.parametrize("space", ["\xa0", "\x85"])
def test_an_origin_is_exact(space: str) -> None:
    """No white space is removed, inside or around it."""
    for origin in (f"{space}https://example.com", f"https://example.com{space}"):
        assert refused(origin)
        assert refused(origin.replace("example.com", "friend.example"))
    assert refused(f"https://exam{space}ple.com")
    assert refused("https://example.com", site=f"same-origin{space}")


def test_the_default_port_is_optional() -> None:
    """Some proxies add it to the Host header."""
    assert not refused("https://example.com", host="example.com:443")
    assert not refused("http://example.com", host="example.com:80", protocol="http")
    assert refused("https://example.com", host="example.com:80")
    assert refused("http://example.com", host="example.com:443", protocol="http")


def test_an_http_origin_is_refused_by_https() -> None:
    """An attacker who can change an http page could use the https session."""
    assert refused("http://example.com", protocol="https")
    assert not refused("https://example.com", protocol="http")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin,cross-site", "x"])
def test_a_request_of_another_site_is_refused_without_origin_too(site: str) -> None:
    """An image or a link has no Origin, but Sec-Fetch-Site."""
    assert refused(site=site)
    assert refused("https://example.com", site=site)


def test_two_origins_are_refused() -> None:
    """It would be unclear which one counts."""
    assert refused("https://example.com", "https://example.com")
    assert refused("https://friend.example", "https://evil.example")
    assert refused("https://evil.example", "https://example.com")


@pytest.mark.parametrize("site", [None, "cross-site", "same-site"])
def test_a_trusted_origin_is_allowed(site: str | None) -> None:
    """The exact one, in upper or lower case."""
    assert not refused("https://friend.example", site=site)
    assert not refused("https://FRIEND.example", site=site)
    assert refused("http://friend.example", site=site)
    assert refused("https://friend.example:444", site=site)
    assert refused("https://friend.example.evil.example", site=site)


def test_a_trusted_pattern_covers_all_names_below() -> None:
    """At any depth, with the same scheme and port, but not the name itself."""
    trusted = origins("https://*.friend.example, https://*.other.example:8443")
    for origin in (
        "https://a.friend.example",
        "https://a.b-c.FRIEND.example",
        "https://a.other.example:8443",
    ):
        assert not refused(origin, site="cross-site", trusted=trusted), origin
    for origin in (
        "https://friend.example",
        "https://.friend.example",
        "https://afriend.example",
        "https://a..friend.example",
        "https://a.friendxexample",
        "https://evil.example/.friend.example",
        "https://evil.example:1.friend.example",
        "https://evil.example#.friend.example",
        "https://a@b.friend.example",
        "https://a.friend.example.evil.example",
        "https://a.friend.example:8443",
        "https://a.other.example",
        "http://a.friend.example",
        "https://\xa0.friend.example",
        "https://*.friend.example",
    ):
        assert refused(origin, site="cross-site", trusted=trusted), origin


@pytest.mark.parametrize(
    "origin",
    [
        "capacitor://localhost",
        "tauri://localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    ],
)
def test_an_origin_of_an_app_may_be_trusted(origin: str) -> None:
    """The exact one."""
    trusted = origins(origin)
    assert not refused(origin, trusted=trusted)
    assert not refused(origin, site="cross-site", trusted=trusted)
    assert refused(origin + "x", site="cross-site", trusted=trusted)
    assert refused(origin.replace("://", "s://"), trusted=trusted)


@pytest.mark.asvs("3.4.2")
def test_without_trusted_origins_other_origins_are_refused() -> None:
    """The default."""
    assert refused("https://friend.example", trusted=())


def test_without_host_every_origin_is_refused() -> None:
    """An empty Host has no origin."""
    assert refused("https://", host="")
    assert refused("https://example.com", host="")


@pytest.mark.asvs("3.4.2")
def test_only_a_trusted_origin_is_returned_for_cors() -> None:
    """Access-Control headers name no other Origin."""
    for origin, expected in (
        ("https://friend.example", "https://friend.example"),
        ("https://evil.example", None),
        ("https://example.com", None),
        ("null", None),
    ):
        assert trusted_origin(request(("Origin", origin)), Origins(TRUSTED)) == expected
    assert trusted_origin(request(), Origins(TRUSTED)) is None


def test_a_refusal_names_the_setting_and_is_short() -> None:
    """It names the setting and quotes a part of the header."""
    asked = request(("Origin", "https://" + "e" * 5000))
    error = origin_error(asked, Origins(()).__contains__)
    assert error is not None
    assert "--trusted-origins" in error
    assert len(error) < 400


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://a]b", "http://[x]"])
@pytest.mark.parametrize("path", ["/logout", "/incr", "/login", "/register", "/nowhere"])
async def test_a_malformed_origin_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, origin: str
) -> None:
    """With 403 and without a traceback."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await raw.ask(path, ("Origin", origin), method="POST", body=b"")
        assert answer.status == 403
        assert not [record for record in caplog.records if record.exc_info]
