"""Which pages of the web may open a connection here."""

from __future__ import annotations

import pytest

from app.origin import origin_error, trusted_origin
from tests.requests import request

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
    return origin_error(request(*headers, protocol=protocol, host=host), trusted) is not None


def test_a_client_that_is_no_browser_may_come() -> None:
    """Without Origin there is no page that could abuse a browser's cookie."""
    assert not refused()
    assert not refused(site="none")


def test_a_page_of_this_host_may_come() -> None:
    """In whatever case, and with the port that the Host header has."""
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
@pytest.mark.parametrize("site", [None, "cross-site", "same-origin"])
def test_a_foreign_page_is_refused(origin: str, site: str | None) -> None:
    """Also one that looks alike, and whatever Sec-Fetch-Site says."""
    assert refused(origin, site=site)


def test_a_page_without_encryption_is_foreign_to_https() -> None:
    """Who can change an http page could use the https session; not so the other way."""
    assert refused("http://example.com", protocol="https")
    assert not refused("https://example.com", protocol="http")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "same-origin,cross-site", "x"])
def test_a_request_of_another_site_is_refused_without_origin_too(site: str) -> None:
    """An image or a link elsewhere sends no Origin; the browser says where it came from."""
    assert refused(site=site)
    assert refused("https://example.com", site=site)


def test_two_origins_are_refused() -> None:
    """Nobody should have to guess which one counts."""
    assert refused("https://example.com", "https://example.com")
    assert refused("https://friend.example", "https://evil.example")
    assert refused("https://evil.example", "https://example.com")


@pytest.mark.parametrize("site", [None, "cross-site", "same-site"])
def test_a_trusted_page_may_come(site: str | None) -> None:
    """Exactly that one, in whatever case."""
    assert not refused("https://friend.example", site=site)
    assert not refused("https://FRIEND.example", site=site)
    assert refused("http://friend.example", site=site)
    assert refused("https://friend.example:444", site=site)
    assert refused("https://friend.example.evil.example", site=site)


def test_without_trusted_origins_no_other_may_come() -> None:
    """The default."""
    assert refused("https://friend.example", trusted=())


def test_without_host_no_page_may_come() -> None:
    """An empty Host is nobody's own."""
    assert refused("https://", host="")
    assert refused("https://example.com", host="")


def test_only_a_trusted_origin_is_answered_with_its_name() -> None:
    """What the Access-Control headers say is never a stranger's Origin."""
    for origin, expected in (
        ("https://friend.example", "https://friend.example"),
        ("https://evil.example", None),
        ("https://example.com", None),
        ("null", None),
    ):
        assert trusted_origin(request(("Origin", origin)), TRUSTED) == expected
    assert trusted_origin(request(), TRUSTED) is None


def test_a_refusal_says_where_the_remedy_is_and_stays_short() -> None:
    """The setting's name, and not a kilobyte of a stranger's text."""
    error = origin_error(request(("Origin", "https://" + "e" * 5000)), ())
    assert error is not None
    assert "--trusted-origins" in error
    assert len(error) < 400
