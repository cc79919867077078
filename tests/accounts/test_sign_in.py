"""Registration, sign-in and sign-out over HTTP, by forms and by JSON."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.accounts import accounts, database
from handlers.sign_in import safe_target
from tests.support.forms import PAGE, PASSWORD, ask, count, each_kind, known, send, who
from tests.support.site import serve
from tests.support.visitor import Visitor

# -- the way in --


@pytest.mark.asvs("6.3.4")
@each_kind
@pytest.mark.parametrize("path", ["/register", "/login"])
async def test_registration_and_sign_in_sign_the_user_in(
    tmp_path: Path, kind: str, path: str
) -> None:
    """A form is sent on with 303, JSON gets 204; the page then knows the user."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
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
async def test_signing_in_changes_the_cookie_and_keeps_the_data(
    tmp_path: Path, kind: str, path: str
) -> None:
    """The visitor's count is kept under a new id, and the old cookie is invalid."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as thief:
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
async def test_a_failed_sign_in_leaves_the_session_as_it_was(tmp_path: Path, kind: str) -> None:
    """Neither the cookie nor the user nor the count changes."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        await ann.incr()
        before = ann.cookie
        answer = await send(ann, kind, "/login", username="ann", password="wrong wrong wrong")
        assert answer.status == 401
        assert (ann.cookie, await who(ann), await count(ann)) == (before, "ann", 1)


# -- refusals --


@pytest.mark.asvs("6.3.8")
@each_kind
async def test_an_unknown_name_and_a_wrong_password_read_the_same(
    tmp_path: Path, kind: str
) -> None:
    """401 with the same words, and a form shows the name again but never the password."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        wrong = await send(visitor, kind, "/login", username="ann", password="wrong-password-1")
        unknown = await send(visitor, kind, "/login", username="eve", password="wrong-password-1")
        assert wrong.status == unknown.status == 401
        assert wrong.sentence == unknown.sentence == "Wrong name or wrong password."
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
    tmp_path: Path, kind: str, path: str, fields: dict[str, str], said: str
) -> None:
    """Missing, too long, too short, taken: the same words in JSON and in the form's page."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        answer = await send(visitor, kind, path, **fields)
        assert answer.status == 422
        assert said in answer.sentence
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
    tmp_path: Path, path: str, body: str, status: int
) -> None:
    """400 for what is no JSON, 422 for what is no object of texts; never a 500."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        headers = {"Content-Type": "application/json"}
        raw = body.encode(errors="surrogateescape")
        async with visitor.http.post(visitor.url + path, data=raw, headers=headers) as answer:
            assert answer.status == status
            assert list(await answer.json()) == ["error"]


@pytest.mark.parametrize(("path", "status"), [("/register", 422), ("/login", 401)])
async def test_text_that_is_no_unicode_is_refused(tmp_path: Path, path: str, status: int) -> None:
    """JSON can write a lone surrogate, which neither hashes nor goes into a database."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        for fields in ({"username": "a\ud800"}, {"password": "correct \udfff horse"}):
            fields = {"username": "ann", "password": PASSWORD, **fields}
            assert (await send(visitor, "json", path, **fields)).status == status


@pytest.mark.asvs("3.2.2")
async def test_input_is_escaped_in_the_page(tmp_path: Path) -> None:
    """Name and `next` come back as text, not as markup."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
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
        assert "Registration is closed" in answer.sentence
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
    tmp_path: Path, kind: str, path: str, headers: dict[str, str]
) -> None:
    """A cross-origin POST gets 403 and changes nothing (login CSRF)."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
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


# -- rates --


@pytest.mark.asvs("6.3.1")
@each_kind
async def test_too_many_failures_get_429_with_retry_after(tmp_path: Path, kind: str) -> None:
    """After the limit even the right password, in any spelling of the name, has to wait."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        for _ in range(3):
            answer = await send(visitor, kind, "/login", username="ann", password="wrong wrong")
            assert answer.status == 401
        for name in ("ann", "ANN", " ann "):
            answer = await send(visitor, kind, "/login", username=name, password=PASSWORD)
            assert answer.status == 429
            assert "wait" in answer.sentence
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert visitor.cookie == ""


@pytest.mark.asvs("6.3.1")
async def test_an_account_is_guarded_from_many_addresses(tmp_path: Path) -> None:
    """Failures count against the account too, however it is spelled; others are not concerned."""
    async with (
        serve(
            tmp_path,
            failed_logins_per_minute=3,
            trusted_proxies=(ip_network("127.0.0.1/32"), ip_network("::1/128")),
        ) as site,
        Visitor(site.url) as visitor,
    ):
        await known(site, "ann", "bob")

        async def login(address: str, name: str, password: str) -> int:
            headers = {"X-Forwarded-For": address}
            fields = {"username": name, "password": password}
            return (await send(visitor, "json", "/login", headers, **fields)).status

        for number, name in enumerate(("ann", "ANN", "Ann ")):
            assert await login(f"192.0.2.{number}", name, "wrong wrong") == 401
        assert await login("192.0.2.9", "ann", PASSWORD) == 429
        assert await login("192.0.2.9", "bob", PASSWORD) == 204


@pytest.mark.asvs("6.3.1")
async def test_guesses_sent_at_once_are_limited_as_those_one_by_one(tmp_path: Path) -> None:
    """A burst gets no more tries than the limit and the few that are being hashed."""
    async with serve(tmp_path, failed_logins_per_minute=5) as site, Visitor(site.url) as visitor:
        await known(site, "ann")
        answers = await asyncio.gather(
            *(
                send(visitor, "json", "/login", username="ann", password=f"guess number {number}")
                for number in range(40)
            )
        )
        statuses = [answer.status for answer in answers]
        assert set(statuses) == {401, 429}
        assert 5 <= statuses.count(401) < 5 + accounts._WORKERS


@pytest.mark.asvs("6.3.8")
async def test_attempts_to_find_taken_names_are_limited(tmp_path: Path) -> None:
    """The register page tells that a name is taken, but only so often a minute."""
    async with serve(tmp_path, failed_logins_per_minute=3) as site, Visitor(site.url) as visitor:
        names = [f"user {number}" for number in range(5)]
        await known(site, *names)
        statuses = [
            (await send(visitor, "json", "/register", username=name, password=PASSWORD)).status
            for name in names
        ]
        assert statuses == [422, 422, 422, 429, 429]


@each_kind
async def test_a_database_that_fails_gets_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A locked file is the server's trouble: try again, and then it works."""
    monkeypatch.setattr(database, "_LOCK_TIMEOUT", 0.2)
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        with contextlib.closing(sqlite3.connect(tmp_path / "data/accounts.sqlite3")) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await send(ann, kind, "/register", username="ann", password=PASSWORD)
        assert answer.status == 503
        assert "does not answer" in answer.sentence
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


# -- next --

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
    tmp_path: Path, path: str, target: str, location: str
) -> None:
    """A form comes back to where it was called from, also after a wrong password in between."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
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


# -- the way out --


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
    tmp_path: Path, kind: str, accept: str, status: int, user: str | None
) -> None:
    """303 for a form, 204 for JSON and fetch; the cookie goes, and is worth nothing any more."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann, Visitor(site.url) as thief:
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
async def test_signing_out_without_a_session_is_no_error(tmp_path: Path) -> None:
    """It is what a second click, or a second tab, does."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        assert (await send(visitor, "form", "/logout")).status == 303
        assert (await send(visitor, "json", "/logout")).status == 204


@pytest.mark.asvs("3.5.3")
@pytest.mark.parametrize("path", ["/logout", "/incr"])
async def test_a_get_signs_no_user_out(tmp_path: Path, path: str) -> None:
    """GET changes nothing: 405, as a page."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        assert (await ask(ann, path)).status == 405
        assert await who(ann) == "ann"


# -- pages --


@pytest.mark.parametrize("path", ["/", "/login", "/register"])
async def test_pages_with_the_users_name_are_not_cached(tmp_path: Path, path: str) -> None:
    """So they are in no cache after the sign-out."""
    async with serve(tmp_path) as site, Visitor(site.url) as ann:
        await ann.sign_up("ann")
        answer = await ask(ann, path)
        assert answer.status == 200
        assert "ann</" in answer.text
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.asvs("3.4.3")
@pytest.mark.parametrize("path", ["/", "/login", "/register", "/nowhere"])
async def test_pages_have_no_inline_script_or_style(tmp_path: Path, path: str) -> None:
    """The Content-Security-Policy forbids it, and so do we."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        text = (await ask(visitor, path)).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
        for script in re.findall(r"<script[^>]*>[^<]*</script>", text):
            assert " src=" in script
            assert "></script>" in script


async def test_an_error_before_the_session_lookup_gets_an_error_page(tmp_path: Path) -> None:
    """What is refused as cross-origin has a page too, with neither user nor sign-out."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        headers = {"Sec-Fetch-Site": "cross-site"}
        answer = await send(visitor, "form", "/login", headers, username="a", password="b")
        assert answer.status == 403
        assert "<h1>" in answer.text
        assert "Back to the start page" in answer.text


async def test_the_next_user_of_a_browser_does_not_get_the_data_of_the_last(
    tmp_path: Path,
) -> None:
    """Bob signs in where Ann is signed in and gets new data; a visitor's count is kept."""
    async with serve(tmp_path) as site, Visitor(site.url) as visitor:
        await visitor.sign_up("bob")
        await visitor.post("/logout")
        assert await visitor.incr() == 1
        await visitor.sign_up("ann")
        assert await visitor.incr() == 2
        await visitor.sign_in("bob")
        assert await visitor.incr() == 1
