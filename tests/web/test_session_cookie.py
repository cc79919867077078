"""The session cookie: signature, forged and repeated cookies, attributes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from app.settings import Settings
from app.web.session_cookie import CookieId, SessionCookie
from tests.support.demo.session import BaseHandler
from tests.support.fork import fork
from tests.support.raw import Raw
from tests.support.site import serve

OLD, NEW = "old-key-" + "o" * 32, "new-key-" + "n" * 32


ID = "A-_0" * 10 + "abc"


def cookie(*keys: str, **settings: object) -> SessionCookie:
    """Return a cookie with these keys and settings."""
    return SessionCookie(Settings(**settings), keys or (NEW,))  # type: ignore[arg-type]


def value(of: SessionCookie, session_id: str = ID) -> str:
    """Return the signed value for this id."""
    return of.set(session_id, secure=False, max_age=60).partition(";")[0].partition("=")[2]


def ids(of: SessionCookie, *headers: str, secure: bool = False) -> list[str]:
    """Return the ids that these Cookie headers hold."""
    return [found.session_id for found in of.read(headers, secure=secure)]


@pytest.mark.express("K2")
def test_a_cookie_that_was_set_is_read() -> None:
    """Among others, in any place, and in quotes."""
    good = value(cookie())
    for header in (
        f"latchkey={good}",
        f"a=b; latchkey={good}; c=d",
        f"a=b;latchkey={good}",
        f'latchkey="{good}"',
        f"; ;=; latchkey ; latchkey={good} ;",
    ):
        assert cookie().read([header], secure=False) == [CookieId(ID, stale=False)]


@pytest.mark.express("C6")
def test_the_signature_is_not_that_of_another_key_salt_or_digest() -> None:
    """Even if the key is the same, a signature for another purpose is invalid."""
    import hashlib

    from itsdangerous import Signer, TimestampSigner

    strangers = [
        Signer("another" * 8, salt="latchkey.session-id", digest_method=hashlib.sha256),
        Signer(NEW, key_derivation="hmac", digest_method=hashlib.sha256),
        Signer(NEW, salt="latchkey.session-id", key_derivation="hmac"),
        TimestampSigner(NEW),
    ]
    for stranger in strangers:
        assert ids(cookie(), "latchkey=" + stranger.sign(ID).decode()) == []


@pytest.mark.asvs("7.2.1")
@pytest.mark.attack("A1")
def test_a_forged_or_damaged_cookie_is_invalid() -> None:
    """A change of any character is noticed, and no value raises an error."""
    good = value(cookie())
    session_id, _, signature = good.rpartition(".")
    damaged = [
        "",
        ".",
        session_id,
        session_id + ".",
        "." + signature,
        good[:-2],
        good + "A",
        good + ".",
        good.replace(".", ".."),
        "B" + good[1:],
        good.swapcase(),
        good.replace("A", "\xc4"),
        good + "\xff",
        good + "\0",
        "é" * 50,
        "x" * 300,
        "x" * 1_000_000,
        f"{good} {good}",
        "%00",
        "{}",
    ]
    for bad in damaged:
        assert ids(cookie(), f"latchkey={bad}") == [], bad[:100]


def test_the_id_is_signed_with_its_whole_length() -> None:
    """Moving the border between id and signature does not help."""
    good = value(cookie(), "abc.def")
    assert ids(cookie(), f"latchkey={good}") == ["abc.def"]
    assert ids(cookie(), f"latchkey={good.replace('abc.def', 'abc')}") == []


@pytest.mark.parametrize("forged", ["", "x", "x" * 1000, "é"])
def test_a_forged_cookie_does_not_hide_a_valid_one(forged: str) -> None:
    """Before it, after it, or in a header of its own."""
    good = f"latchkey={value(cookie())}"
    bad = f"latchkey={forged}"
    for headers in ([f"{bad}; {good}"], [f"{good}; {bad}"], [bad, good], [good, bad]):
        assert ids(cookie(), *headers) == [ID]


def test_valid_cookies_are_returned_in_order() -> None:
    """A repeated value is returned once."""
    of = cookie()
    first, second = value(of, "first"), value(of, "second")
    header = f"latchkey={first}; latchkey={second}; latchkey={first}"
    assert ids(of, header) == ["first", "second"]


def test_at_most_eight_cookies_of_one_name_are_verified() -> None:
    """So a request cannot make the server verify a thousand signatures."""
    of = cookie()
    good = f"latchkey={value(of)}"
    assert ids(of, "; ".join(["latchkey=x"] * 7 + [good])) == [ID]
    assert ids(of, "; ".join(["latchkey=x"] * 8 + [good])) == []
    assert ids(of, *["latchkey=x"] * 8, good) == []
    assert ids(of, "; ".join(["other=x"] * 500 + [good])) == [ID]


@pytest.mark.express("F1")
@pytest.mark.parametrize(
    "name",
    ["Latchkey", "latchkey2", "xlatchkey", "latchkey ", "__Host-latchkey", "__Secure-latchkey"],
)
def test_only_the_exact_name_counts(name: str) -> None:
    """Neither case, prefix nor suffix make a cookie ours."""
    assert ids(cookie(), f"{name}={value(cookie())}") == []


@pytest.mark.asvs("3.3.3")
@pytest.mark.parametrize("space", ["\xa0", "\x85", "\xc2\xa0", "\x1f", "\x0b", "\xad"])
@pytest.mark.attack("A3")
def test_a_name_with_other_white_space_is_another_name(space: str) -> None:
    """A subdomain may set such a cookie: it does not begin with `__Host-`."""
    good, foreign = value(cookie(), "good"), value(cookie(), "foreign")
    for name in (f"{space}__Host-latchkey", f"__Host-latchkey{space}", f" {space}__Host-latchkey"):
        assert ids(cookie(), f"{name}={foreign}", secure=True) == []
        assert ids(cookie(), f"{name}={foreign}; __Host-latchkey={good}", secure=True) == ["good"]
        assert ids(cookie(), f"a=b;\t{name}={foreign}", secure=True) == []
    assert ids(cookie(), f"__Host-latchkey={space}{good}", secure=True) == []


def test_spaces_and_tabs_around_a_cookie_are_ignored() -> None:
    """RFC 9110, 5.6.3: they are HTTP's white space."""
    good = value(cookie())
    assert ids(cookie(), f"a=b; \t latchkey={good}\t ;c=d") == [ID]


class JarHandler(BaseHandler):
    """Answers with the cookies that `get_cookie` finds."""

    def get(self) -> None:
        self.write({"names": list(self.cookies), "value": self.get_cookie("__Host-fork")})


@pytest.mark.asvs("3.3.3")
@pytest.mark.parametrize("space", ["\xa0", "\x85", "\xc2\xa0"])
async def test_get_cookie_matches_exact_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: str
) -> None:
    """`get_cookie` reads them by the same rule, from one Cookie header or several."""
    modules = fork(monkeypatch, routes=[("/jar", JarHandler)])
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        cookies = f"{space}__Host-fork=evil; a=b"
        answer = await raw.ask("/jar", ("Cookie", cookies))
        assert json.loads(answer.body) == {"names": ["a"], "value": None}
        more = ("Cookie", '__Host-fork="its own"; a=c')
        answer = await raw.ask("/jar", ("Cookie", cookies), more)
        assert json.loads(answer.body) == {"names": ["a", "__Host-fork"], "value": "its own"}


@pytest.mark.asvs("3.3.1", "3.3.3", "3.5.4")
@pytest.mark.attack("A3")
def test_by_https_only_the_host_cookie_counts() -> None:
    """Another host, or a page by http, may have set the one without prefix."""
    good = value(cookie())
    assert ids(cookie(), f"__Host-latchkey={good}", secure=True) == [ID]
    assert ids(cookie(), f"latchkey={good}", secure=True) == []
    assert ids(cookie(), f"__host-latchkey={good}", secure=True) == []


@pytest.mark.express("K6")
def test_a_cookie_of_an_older_key_is_accepted_as_stale() -> None:
    """All keys verify and the last one signs; a removed key does not verify."""
    old = f"latchkey={value(cookie(OLD))}"
    new = f"latchkey={value(cookie(OLD, NEW))}"
    assert cookie(OLD, NEW).read([old], secure=False) == [CookieId(ID, stale=True)]
    assert cookie(OLD, NEW).read([new], secure=False) == [CookieId(ID, stale=False)]
    assert cookie(NEW).read([new], secure=False) == [CookieId(ID, stale=False)]
    assert ids(cookie(NEW), old) == []


def attributes(**settings: object) -> set[str]:
    """Return the attributes of a cookie that is set by https."""
    header = cookie(**settings).set(ID, secure=True, max_age=60)
    return {part.strip() for part in header.split(";")[1:]}


@pytest.mark.asvs("3.3.2", "3.3.4", "3.3.5")
@pytest.mark.express("E1", "E3", "F1", "O1", "Q1", "Q4")
def test_the_attributes_of_a_cookie() -> None:
    """Without Secure by http; with Secure and the prefix by https."""
    plain = cookie().set(ID, secure=False, max_age=60.9)
    assert plain.endswith("; Max-Age=60; Path=/; HttpOnly; SameSite=Lax")
    assert plain.startswith("latchkey=")
    secure = cookie().set(ID, secure=True, max_age=60)
    assert secure.startswith("__Host-latchkey=")
    assert secure.endswith("; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure")


def test_a_domain_removes_the_prefix() -> None:
    """Browsers refuse `__Host-` with Domain (RFC 6265bis, 4.1.3.2)."""
    header = cookie(cookie_domain="example.com").set(ID, secure=True, max_age=60)
    assert header.startswith("latchkey=")
    assert "; Domain=example.com" in header
    assert "; Secure" in header


@pytest.mark.asvs("3.3.1")
@pytest.mark.express("D2")
def test_secure_may_be_forced_or_left_out() -> None:
    """`yes` behind a proxy without X-Forwarded-Proto, `no` for a site without https."""
    forced = cookie(cookie_secure="yes").set(ID, secure=False, max_age=60)
    assert forced.startswith("__Host-latchkey=")
    assert forced.endswith("Secure")
    assert "Secure" not in cookie(cookie_secure="no").set(ID, secure=True, max_age=60)


@pytest.mark.asvs("3.3.2")
@pytest.mark.express("O4", "O12", "Q6")
def test_the_other_attributes_follow_the_settings() -> None:
    """SameSite and Partitioned, each as set."""
    assert "SameSite=Strict" in attributes(cookie_samesite="strict")
    assert "SameSite=None" in attributes(cookie_samesite="none")
    assert "Partitioned" in attributes(cookie_partitioned=True)
    assert "Partitioned" not in attributes()


@pytest.mark.express("E5", "E7")
def test_http_cookies_have_no_attribute_that_needs_https() -> None:
    """Browsers drop SameSite=None and Partitioned without Secure."""
    header = cookie(cookie_samesite="none", cookie_partitioned=True).set(
        ID, secure=False, max_age=60
    )
    assert "SameSite=Lax" in header
    assert "Partitioned" not in header
    assert "Secure" not in header


@pytest.mark.express("O7", "Q5")
@pytest.mark.parametrize(
    ("left", "expected"), [(0.5, "Max-Age=0"), (-5, "Max-Age=0"), (86400.0, "Max-Age=86400")]
)
def test_max_age_is_the_time_left(left: float, expected: str) -> None:
    """In whole seconds, never negative."""
    assert f"; {expected};" in cookie().set(ID, secure=False, max_age=left)


@pytest.mark.express("O2", "O11")
def test_without_absolute_lifetime_there_is_no_max_age() -> None:
    """The browser drops the cookie when it closes."""
    assert "Max-Age" not in cookie().set(ID, secure=False, max_age=math.inf)


@pytest.mark.express("O10")
@pytest.mark.parametrize("secure", [True, False])
def test_a_deletion_has_the_attributes_of_the_cookie(secure: bool) -> None:
    """The browser keeps the cookie unless name, path, domain and flags agree."""
    of = cookie(cookie_domain="example.com", cookie_partitioned=True)
    made, gone = of.set(ID, secure=secure, max_age=60), of.delete(secure=secure)
    assert gone.startswith(made.partition("=")[0] + "=; Max-Age=0; Expires=Thu, 01 Jan 1970")
    assert made.partition("Path=")[2] == gone.partition("Path=")[2]


@pytest.mark.express("A3", "K1")
def test_a_cookie_without_key_is_refused() -> None:
    """There is no default key."""
    with pytest.raises(ValueError, match="needs a signing key"):
        SessionCookie(Settings(), ())
