"""Registration and sign-in over HTTP, by forms and by JSON."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from app.database import sqlite
from tests.support.forms import PAGE, PASSWORD, ask, count, each_kind, known, send, who
from tests.support.site import Site, serve
from tests.support.visitor import Visitor


@pytest.mark.asvs("6.3.4")
@each_kind
@pytest.mark.parametrize("path", ["/register", "/login"])
async def test_registration_and_sign_in_sign_the_user_in(
    site: Site, ann: Visitor, kind: str, path: str
) -> None:
    """A form is sent on with 303, JSON gets 204; the page then knows the user."""
    if path == "/login":
        await known(site, "Ann")
    assert await who(ann) is None
    answer = await send(ann, kind, path, username="Ann", password=PASSWORD)
    assert answer.status == (303 if kind == "form" else 204)
    assert answer.headers.get("Location") == ("/" if kind == "form" else None)
    assert answer.text == ""
    assert await who(ann) == "Ann"


@pytest.mark.asvs("7.2.4")
@pytest.mark.express("N7")
@each_kind
@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.attack("A2")
async def test_signing_in_changes_the_cookie_and_keeps_the_data(
    site: Site, ann: Visitor, kind: str, path: str
) -> None:
    """The visitor's count is kept under a new id, and the old cookie is invalid."""
    async with Visitor(site.url) as thief:
        if path == "/login":
            await known(site, "ann")
        await ann.incr()
        assert await ann.incr() == 2
        before = ann.cookie
        assert before
        await send(ann, kind, path, username="ann", password=PASSWORD)
        assert ann.cookie != before
        assert await count(ann) == 2
        assert 'data-user="ann"' not in (await ask(thief, Cookie=before)).text
        thief.http.headers["Cookie"] = before
        assert (await thief.incr(), await who(thief)) == (1, None)


@each_kind
async def test_a_failed_sign_in_leaves_the_session_as_it_was(ann: Visitor, kind: str) -> None:
    """Neither the cookie nor the user nor the count changes."""
    await ann.sign_up("ann")
    await ann.incr()
    before = ann.cookie
    answer = await send(ann, kind, "/login", username="ann", password="wrong wrong wrong")
    assert answer.status == 401
    assert (ann.cookie, await who(ann), await count(ann)) == (before, "ann", 1)


@pytest.mark.asvs("6.3.8")
@each_kind
async def test_an_unknown_name_and_a_wrong_password_read_the_same(
    site: Site, visitor: Visitor, kind: str
) -> None:
    """401 with the same words, and a form shows the name again but never the password."""
    await known(site, "ann")
    wrong = await send(visitor, kind, "/login", username="ann", password="wrong-password-1")
    unknown = await send(visitor, kind, "/login", username="eve", password="wrong-password-1")
    assert wrong.status == unknown.status == 401
    assert wrong.error == unknown.error == "Wrong name or wrong password."
    assert wrong.text.replace("ann", "eve") == unknown.text
    assert "wrong-password-1" not in wrong.text
    if kind == "form":
        assert 'name="username" value="ann"' in wrong.text
        assert wrong.headers["Cache-Control"] == "no-store"
    assert visitor.cookie == ""


@each_kind
@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("/login", {}, "Enter your name"),
        ("/login", {"username": "ann"}, "Enter your name"),
        ("/login", {"password": PASSWORD}, "Enter your name"),
        ("/register", {}, "1 to 64"),
        ("/register", {"username": "eve"}, "8 to 128"),
        ("/register", {"username": "eve", "password": "1234567"}, "8 to 128"),
        ("/register", {"username": "x" * 65, "password": PASSWORD}, "1 to 64"),
        ("/register", {"username": " eve", "password": PASSWORD}, "space"),
        ("/register", {"username": "ANN", "password": PASSWORD}, "taken"),
    ],
)
async def test_bad_fields_get_422_and_a_sentence(
    site: Site, visitor: Visitor, kind: str, path: str, fields: dict[str, str], said: str
) -> None:
    """Missing, too long, too short, taken: the same words in JSON and in the form's page."""
    await known(site, "ann")
    answer = await send(visitor, kind, path, **fields)
    assert answer.status == 422
    assert said in answer.error
    assert PASSWORD not in answer.text
    assert visitor.cookie == ""


@pytest.mark.parametrize("path", ["/register", "/login"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[]", 422),
        ("null", 422),
        ('"ann"', 422),
        ('{"username": 1, "password": "correct horse"}', 422),
        ('{"username": ["ann"], "password": null}', 422),
        ("{", 400),
        ("", 400),
        ("\udcff", 400),
        ("[" * 100_000, 400),
    ],
)
async def test_a_json_body_of_another_shape_is_a_clients_error(
    visitor: Visitor, path: str, body: str, status: int
) -> None:
    """400 for what is no JSON, 422 for what is no object of texts; never a 500."""
    headers = {"Content-Type": "application/json"}
    raw = body.encode(errors="surrogateescape")
    async with visitor.http.post(visitor.url + path, data=raw, headers=headers) as answer:
        assert answer.status == status
        assert list(await answer.json()) == ["error"]


@pytest.mark.parametrize(("path", "status"), [("/register", 422), ("/login", 401)])
async def test_text_that_is_no_unicode_is_refused(visitor: Visitor, path: str, status: int) -> None:
    """JSON can write a lone surrogate, which neither hashes nor goes into a database."""
    for fields in ({"username": "a\ud800"}, {"password": "correct \udfff horse"}):
        fields = {"username": "ann", "password": PASSWORD, **fields}
        assert (await send(visitor, "json", path, **fields)).status == status


@pytest.mark.asvs("3.2.2")
async def test_input_is_escaped_in_the_page(visitor: Visitor) -> None:
    """Name and `next` come back as text, not as markup."""
    evil = '"><script>alert(1)</script>'
    answer = await send(
        visitor, "form", "/login", username=evil, password=PASSWORD, next="/" + evil
    )
    assert answer.status == 401
    assert "<script>alert" not in answer.text
    await visitor.sign_up("<script>alert(2)</script>")
    assert "<script>alert" not in (await ask(visitor)).text


@each_kind
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_closed_registration_is_refused_with_403(
    tmp_path: Path, kind: str, method: str
) -> None:
    """It says so, makes nothing, and no page offers it."""
    async with serve(tmp_path, registration="closed") as site, Visitor(site.url) as visitor:
        if method == "POST":
            answer = await send(visitor, kind, "/register", username="ann", password=PASSWORD)
        else:
            accept = PAGE if kind == "form" else {"Accept": "application/json"}
            answer = await ask(visitor, "/register", **accept)
        assert answer.status == 403
        assert "Registration is closed" in answer.error
        assert await site.services.accounts.verify("ann", PASSWORD) is None
        for path in ("/", "/login"):
            assert "/register" not in (await ask(visitor, path)).text


@pytest.mark.asvs("3.5.1")
@each_kind
@pytest.mark.parametrize("path", ["/register", "/login", "/logout"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_another_site_cannot_sign_a_user_in_or_out(
    site: Site, ann: Visitor, kind: str, path: str, headers: dict[str, str]
) -> None:
    """A cross-origin POST gets 403 and changes nothing (login CSRF)."""
    await known(site, "eve")
    await ann.sign_up("ann")
    before = ann.cookie
    name = "eve" if path == "/login" else "mallory"
    answer = await send(ann, kind, path, headers, username=name, password=PASSWORD)
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers
    assert (ann.cookie, await who(ann)) == (before, "ann")


async def test_a_trusted_origin_may_sign_in(tmp_path: Path) -> None:
    """--trusted-origins opens the forms for exactly those."""
    async with serve(tmp_path, trusted_origins=("https://app.example",)) as site:
        await known(site, "ann")
        async with Visitor(site.url) as ann:
            headers = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
            answer = await send(ann, "json", "/login", headers, username="ann", password=PASSWORD)
            assert answer.status == 204


@each_kind
async def test_a_database_that_fails_gets_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A locked file is the server's trouble: try again, and then it works."""
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT", 0.2)
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        with contextlib.closing(sqlite3.connect(tmp_path / "data/accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await send(ann, kind, "/register", username="ann", password=PASSWORD)
        assert answer.status == 503
        assert "does not answer" in answer.error
        assert int(answer.headers["Retry-After"]) >= 1
        await ann.sign_up("ann")


async def test_two_registrations_of_one_name_at_once_sign_one_in(tmp_path: Path) -> None:
    """One gets 204, the others 422, and only the one has a cookie."""
    async with serve(tmp_path) as site, contextlib.AsyncExitStack() as stack:
        visitors = [await stack.enter_async_context(Visitor(site.url)) for _ in range(4)]
        answers = await asyncio.gather(
            *(send(v, "json", "/register", username="Ann", password=PASSWORD) for v in visitors)
        )
        assert sorted(answer.status for answer in answers) == [204, 422, 422, 422]
        assert [bool(v.cookie) for v in visitors] == [a.status == 204 for a in answers]
