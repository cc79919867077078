"""Sign-out, and what a browser keeps of it."""

from __future__ import annotations

import re

import pytest

from tests.support.forms import PAGE, ask, count, send, who
from tests.support.site import Site
from tests.support.visitor import Visitor


@pytest.mark.asvs("7.4.1")
@pytest.mark.express("L3", "N6")
@pytest.mark.parametrize(
    ("kind", "accept", "status"),
    [
        ("form", PAGE["Accept"], 303),
        ("form", "*/*", 204),
        ("form", "application/json", 204),
        ("json", "*/*", 204),
    ],
)
@pytest.mark.parametrize("user", ["ann", None])
async def test_signing_out_ends_the_session(
    site: Site, ann: Visitor, kind: str, accept: str, status: int, user: str | None
) -> None:
    """303 for a form, 204 for JSON and fetch; the cookie goes, and is worth nothing any more."""
    async with Visitor(site.url) as thief:
        if user is not None:
            await ann.sign_up(user)
        await ann.incr()
        before = ann.cookie
        answer = await send(ann, kind, "/logout", {"Accept": accept})
        assert answer.status == status
        assert answer.headers.get("Location") == ("/" if status == 303 else None)
        assert ann.cookie == ""
        assert (await who(ann), await count(ann)) == (None, 0)
        thief.http.headers["Cookie"] = before
        assert (await who(thief), await count(thief)) == (None, 0)


@pytest.mark.express("L4")
async def test_signing_out_without_a_session_is_no_error(visitor: Visitor) -> None:
    """It is what a second click, or a second tab, does."""
    assert (await send(visitor, "form", "/logout")).status == 303
    assert (await send(visitor, "json", "/logout")).status == 204


@pytest.mark.asvs("3.5.3")
@pytest.mark.parametrize("path", ["/logout", "/incr"])
async def test_a_get_signs_no_user_out(ann: Visitor, path: str) -> None:
    """GET changes nothing: 405, as a page."""
    await ann.sign_up("ann")
    assert (await ask(ann, path)).status == 405
    assert await who(ann) == "ann"


@pytest.mark.parametrize("path", ["/", "/login", "/register"])
async def test_pages_with_the_users_name_are_not_cached(ann: Visitor, path: str) -> None:
    """So they are in no cache after the sign-out."""
    await ann.sign_up("ann")
    answer = await ask(ann, path)
    assert answer.status == 200
    assert "ann</" in answer.text
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.asvs("3.4.3")
@pytest.mark.parametrize("path", ["/", "/login", "/register", "/nowhere"])
async def test_pages_have_no_inline_script_or_style(visitor: Visitor, path: str) -> None:
    """The Content-Security-Policy forbids it, and so do we."""
    text = (await ask(visitor, path)).text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    for script in re.findall(r"<script[^>]*>[^<]*</script>", text):
        assert " src=" in script
        assert "></script>" in script


async def test_an_error_before_the_session_lookup_gets_an_error_page(
    site: Site, visitor: Visitor
) -> None:
    """What is refused as cross-origin has a page too, with neither user nor sign-out."""
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = await send(visitor, "form", "/login", headers, username="a", password="b")
    assert answer.status == 403
    assert "<h1>" in answer.text
    assert "Back to the start page" in answer.text


async def test_the_next_user_of_a_browser_does_not_get_the_data_of_the_last(
    visitor: Visitor,
) -> None:
    """Bob signs in where Ann is signed in and gets new data; a visitor's count is kept."""
    await visitor.sign_up("bob")
    await visitor.post("/logout")
    assert await visitor.incr() == 1
    await visitor.sign_up("ann")
    assert await visitor.incr() == 2
    await visitor.sign_in("bob")
    assert await visitor.incr() == 1
