"""The path to which a sign-in redirects."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from handlers.sign_in import safe_target
from tests.support.forms import PASSWORD, known, send
from tests.support.site import Site, serve
from tests.support.visitor import Visitor

ELSEWHERE = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "/\n/evil.example/",
    "\t//evil.example/",
    " //evil.example/",
    "///evil.example/",
    "javascript:alert(1)",
    "evil.example",
    "/ok\r\nSet-Cookie: a=b",
    "/\u0085/evil.example",
    "/\x7f/evil.example",
    "",
]


@pytest.mark.asvs("3.7.2")
@pytest.mark.parametrize("target", ELSEWHERE, ids=ascii)
@pytest.mark.attack("A16")
async def test_next_never_leads_to_another_site(tmp_path: Path, target: str) -> None:
    """Whatever a browser could read as another site becomes the home page, by POST and by GET."""
    assert safe_target(target) == "/"
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await known(site, "ann")
        fields = {"username": "ann", "password": PASSWORD, "next": target}
        answer = await send(ann, "form", "/login", **fields)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        async with ann.http.get(site.url + "/login", params={"next": target}) as page:
            assert 'name="next" value="/"' in await page.text()


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/account", "/account"),
        ("/a/b?c=d&e=%2F%2Fx#f", "/a/b?c=d&e=%2F%2Fx#f"),
        ("/?back=https://other.example/", "/?back=https://other.example/"),
        ("/café?q=ü x", "/caf%C3%A9?q=%C3%BC%20x"),
    ],
)
async def test_next_keeps_the_path_and_the_query(
    site: Site, ann: Visitor, path: str, target: str, location: str
) -> None:
    """A form comes back to where it was called from, also after a wrong password in between."""
    if path == "/login":
        await known(site, "ann")
    async with ann.http.get(site.url + path, params={"next": target}) as page:
        shown = re.search(r'name="next" value="([^"]*)"', await page.text())
    assert shown is not None
    carried = shown[1].replace("&amp;", "&")
    assert carried == location
    fields = {"username": "ann", "next": carried}
    refused = await send(ann, "form", path, password="short", **fields)
    assert f'name="next" value="{shown[1]}"' in refused.text
    answer = await send(ann, "form", path, password=PASSWORD, **fields)
    assert (answer.status, answer.headers["Location"]) == (303, location)
