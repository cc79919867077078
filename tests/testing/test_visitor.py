"""The visitor of the test kit: requests as a browser sends them, and accounts."""

from __future__ import annotations

import pytest
from tornado.web import authenticated

from app.testing import FormRefused, Site, Visitor, serve
from tests.support.demo.session import BaseHandler, SessionData
from tests.support.fork import fork


class EchoHandler(BaseHandler):
    """Answers with the headers of the request, as JSON; `/echo/there` redirects to it."""

    def get(self, there: str = "") -> None:
        if there:
            self.redirect("/echo")
        else:
            self.write(dict(self.request.headers))

    post = get

    @authenticated
    def put(self, there: str = "") -> None:
        self.write("private")


@pytest.fixture
def latchkey_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    modules = fork(monkeypatch, routes=[(r"/echo(/there)?", EchoHandler)])
    trusted = ("https://app.example.org",)
    return {"modules": modules, "data_type": SessionData, "trusted_origins": trusted}


async def test_an_answer_compares_with_status_and_text(visitor: Visitor) -> None:
    """It has status, text and headers of its own too."""
    answer = await visitor.post("/incr")
    assert answer == (200, "1")
    status, text = answer
    assert (status, text) == (answer.status, answer.text)
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


async def test_the_jar_keeps_the_session(latchkey: Site, visitor: Visitor) -> None:
    """Another visitor has a jar of their own; without cookies the session is a new one."""
    other = latchkey.visitor()
    assert [(await visitor.post("/incr")).text for _ in range(2)] == ["1", "2"]
    assert await other.post("/incr") == (200, "1")
    visitor.clear_cookies()
    assert visitor.cookie == ""
    assert await visitor.post("/incr") == (200, "1")


async def test_a_script_says_where_it_runs(latchkey: Site, visitor: Visitor) -> None:
    """A POST has the site's origin, a GET none, as in browsers; yours replace them."""
    sent = (await visitor.post("/echo", json={})).json()
    assert (sent["Origin"], sent["Sec-Fetch-Site"]) == (latchkey.url, "same-origin")
    assert "Origin" not in (await visitor.get("/echo")).json()
    refused = await visitor.post("/echo", json={}, headers={"Origin": "https://evil.example"})
    assert refused.status == 403


async def test_a_page_of_another_origin_is_judged_as_such(latchkey: Site) -> None:
    """A trusted one may send, and reads the answer by CORS; another gets 403."""
    app = latchkey.visitor(origin="https://app.example.org")
    answer = await app.post("/incr")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.org"
    assert (await latchkey.visitor(origin="https://evil.example").post("/incr")).status == 403


async def test_a_link_and_a_form_ask_for_pages(visitor: Visitor) -> None:
    """`get` and `post` ask for anything."""
    assert (await visitor.get("/echo")).json()["Accept"] == "*/*"
    for answer in (await visitor.page("/echo"), await visitor.submit("/echo", {"a": "b"})):
        assert answer.json()["Accept"].startswith("text/html")
    assert answer.json()["Content-Type"] == "application/x-www-form-urlencoded"


async def test_redirects_are_followed_if_asked(visitor: Visitor) -> None:
    """Otherwise a test sees where they lead."""
    answer = await visitor.get("/echo/there")
    assert (answer.status, answer.headers["Location"]) == (302, "/echo")
    assert (await visitor.get("/echo/there", follow=True)).json()["Accept"] == "*/*"


async def test_accounts(visitor: Visitor) -> None:
    """Register, sign out, sign in; a refusal says what the server said."""
    assert (await visitor.request("PUT", "/echo", headers={"Accept": "application/json"})) == (
        401,
        '{"error": "sign in first"}',
    )
    await visitor.register("ann")
    await visitor.sign_out()
    await visitor.sign_in("ann")
    assert await visitor.request("PUT", "/echo") == (200, "private")
    with pytest.raises(FormRefused, match=r"POST /login: 401 .*Wrong name or wrong") as refused:
        await visitor.sign_in("ann", "another password")
    assert refused.value.answer.error.startswith("Wrong name or wrong password")


async def test_the_sentence_of_an_error(visitor: Visitor) -> None:
    """It is read from JSON and from a page; another answer has none."""
    wrong = {"username": "ann", "password": "wrong, of course"}
    assert (await visitor.post("/login", json=wrong)).error == "Wrong name or wrong password."
    assert (await visitor.submit("/login", wrong)).error == "Wrong name or wrong password."
    with pytest.raises(AssertionError, match="200, and no error"):
        _ = (await visitor.page("/")).error
    with pytest.raises(AssertionError, match="200, and not JSON"):
        (await visitor.page("/")).json()


async def test_a_site_has_the_modules_and_the_data_of_the_fork() -> None:
    """Without options it serves what `python -m app` serves."""
    async with serve() as site:
        assert (await site.visitor().get("/healthz")).json() == {"status": "alive"}
        assert site.services.sessions.records.codec.new.__module__ == "handlers.session"


async def test_passwords_cost_no_time() -> None:
    """The hashes are cheap, and those of the next application are not."""
    async with serve() as site:
        await site.services.accounts.register("ann", "correct horse battery")
        assert "m=8,t=1" in await site.services.accounts.password_hash("ann")
