"""What a fork may hook into: the end of a session, connects and disconnects, and login_required."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tornado.web import HTTPError, authenticated

from app.sockets.handshake import HandshakeHandler
from tests.support.browsers import PythonVisitor, browser, each_client, each_mode, joined
from tests.support.clock import Clock
from tests.support.demo.session import BaseHandler, BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

Ends = list[tuple[str | None, int, str]]


def recorder() -> tuple[Ends, Any]:
    """Return a list, and a hook that adds (user, count, reason) of each end to it."""
    ends: Ends = []

    async def on_session_end(session: Any, reason: str) -> None:
        ends.append((session.user, session.data.count, reason))

    return ends, on_session_end


async def test_logout_calls_the_hook_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`on_session_end` gets the session as it was last, and `logout`, before the response."""
    ends, hook = recorder()
    modules = fork(monkeypatch, on_session_end=hook)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        await visitor.incr()
        await joined(visitor, "websocket")
        await joined(visitor, "polling")
        await visitor.post("/logout")
        assert ends == [("ada", 1, "logout")]
        await visitor.post("/logout")
        assert len(ends) == 1


async def test_login_calls_the_hook_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the old id is told as `regenerated`."""
    ends, hook = recorder()
    modules = fork(monkeypatch, on_session_end=hook)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.incr()
        await visitor.sign_up("ada")
        await until(lambda: ends == [(None, 1, "regenerated")])


@pytest.mark.parametrize("connected", [True, False])
async def test_expiry_calls_the_hook_once(
    tmp_path: Path, connected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle session's end is told once, whether it has sockets or only a record."""
    ends, hook = recorder()
    clock = Clock()
    modules = fork(monkeypatch, on_session_end=hook)
    async with (
        serve(tmp_path, clock=clock, expiry_interval=0.05, modules=modules) as site,
        PythonVisitor(site.url) as visitor,
    ):
        await visitor.incr()
        if connected:
            await joined(visitor, "websocket")
        clock.now += 86_401
        await until(lambda: bool(ends))
        await asyncio.sleep(0.2)
        assert ends == [(None, 1, "idle")]


async def test_a_failing_hook_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a fork's hook raises, the logout goes through, the sockets close, and the log tells."""

    async def on_session_end(session: Any, reason: str) -> None:
        raise ZeroDivisionError

    modules = fork(monkeypatch, on_session_end=on_session_end)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        await joined(visitor, "websocket")
        assert (await visitor.post("/logout"))[0] == 204
        assert len(site.services.connections) == 0
    assert "ZeroDivisionError" in caplog.text


class ArrivalsNamespace(BaseNamespace):
    """Counts tens for those who come and hundreds for those who go."""

    async def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        async with self.session_for(sid) as data:
            data.count += 10

    async def on_disconnect(self, sid: str) -> None:
        async with self.session_for(sid) as data:
            data.count += 100

    async def on_count(self, sid: str) -> int:
        return (await self.session_for(sid)).data.count


@each_client
@each_mode
async def test_a_connect_handler_edits_the_session(
    tmp_path: Path, client: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `on_connect` wrote is there for the first event and for the next page."""
    modules = fork(monkeypatch, namespaces=[("/arrivals", ArrivalsNamespace)])
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, mode, namespaces=("/arrivals",))
        assert await socket.call("count", namespace="/arrivals") == 10
        assert await visitor.incr() == 11


@each_mode
async def test_a_disconnect_handler_edits_the_session(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `on_disconnect` wrote is there for the next page."""
    store = WatchedStore()
    modules = fork(monkeypatch, namespaces=[("/arrivals", ArrivalsNamespace)])
    async with (
        serve(tmp_path, store=store, modules=modules) as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode, namespaces=("/arrivals",))
        await socket.close()
        await until(lambda: store.records[0].data.endswith(b"\x6e"))
        assert await visitor.incr() == 111


async def test_a_disconnect_handler_does_not_revive_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An edit in `on_disconnect` after a logout leaves no record and no traceback."""
    store = WatchedStore()
    modules = fork(monkeypatch, namespaces=[("/arrivals", ArrivalsNamespace)])
    async with (
        serve(tmp_path, store=store, modules=modules) as site,
        NodeVisitor(site.url) as visitor,
    ):
        await visitor.sign_up("ada")
        await joined(visitor, "websocket", namespaces=("/arrivals",))
        await visitor.post("/logout")
        await asyncio.sleep(0.1)
        assert not store.ids
    assert "Traceback" not in caplog.text


class MembersNamespace(BaseNamespace):
    """Open to those who signed in."""

    login_required = True

    async def on_whoami(self, sid: str) -> str | None:
        return await self.user_for(sid)


@each_mode
async def test_login_required_refuses_a_stranger(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor gets connect_error `unauthorized`; his other namespaces are not touched."""
    modules = fork(monkeypatch, namespaces=[("/members", MembersNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, mode, namespaces=("/", "/members"))
        assert socket.errors("/members") == ["unauthorized"]
        assert await socket.call("incr") == 1


@each_client
@each_mode
async def test_login_required_lets_a_user_in(
    tmp_path: Path, client: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has signed in on a page joins and is known by name."""
    modules = fork(monkeypatch, namespaces=[("/members", MembersNamespace)])
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await joined(visitor, mode, namespaces=("/members",))
        assert await socket.call("whoami", namespace="/members") == "ada"


async def test_a_refused_client_cannot_emit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event to a namespace that refused its client runs nothing."""
    modules = fork(monkeypatch, namespaces=[("/members", MembersNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", "/members"))
        await socket.packet('2/members,7["whoami"]')
        await asyncio.sleep(0.1)
        assert ("/members", "event") not in [(name, what) for name, what, _ in socket.log]


async def test_a_hook_may_be_a_plain_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither hook has to be a coroutine."""
    ends: list[str] = []

    def on_session_end(session: object, reason: str) -> None:
        ends.append(reason)

    def before_handshake(handler: HandshakeHandler) -> None:
        if "Pass" not in handler.request.headers:
            raise HTTPError(401)

    modules = fork(monkeypatch, on_session_end=on_session_end, before_handshake=before_handshake)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        handshake = "/socket.io/?EIO=4&transport=polling"
        assert (await visitor.get(handshake))[0] == 401
        assert (await visitor.get(handshake, headers={"Pass": "yes"}))[0] == 200
        await visitor.post("/logout")
        assert ends == ["logout"]


@pytest.mark.parametrize("plain", [True, False])
async def test_a_login_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """`on_login` gets the session of each sign-in, and none of a new id for the same login."""
    logins: list[tuple[str | None, int]] = []

    def note(session: Any) -> None:
        logins.append((session.user, session.data.count))

    async def waits(session: Any) -> None:
        await asyncio.sleep(0)
        note(session)

    modules = fork(monkeypatch, on_login=note if plain else waits)
    async with (
        serve(tmp_path, modules=(*modules, "handlers.account")) as site,
        PythonVisitor(site.url) as visitor,
    ):
        await visitor.incr()
        await visitor.sign_up("ada")
        assert logins == [("ada", 1)]
        words = {"password": "correct horse battery", "new_password": "another one of them"}
        assert (await visitor.post("/account/password", json=words))[0] == 204
        assert (await visitor.post("/login", json={"username": "ada", "password": "no"}))[0] == 401
        assert len(logins) == 1
        await visitor.sign_in("ada", "another one of them")
        assert logins == [("ada", 1), ("ada", 1)]


async def test_a_failing_login_hook_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When it raises, the login goes through, and the log tells."""

    def on_login(session: Any) -> None:
        raise ZeroDivisionError

    modules = fork(monkeypatch, on_login=on_login)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await joined(visitor, "websocket")
        assert await socket.call("whoami") == "ada"
    assert "ZeroDivisionError" in caplog.text


class PrivateHandler(BaseHandler):
    """Open to those who signed in, as Tornado's own decorator says it."""

    @authenticated
    def get(self) -> None:
        self.write("private")

    @authenticated
    def post(self) -> None:
        self.write("private")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
async def test_a_page_for_users_refuses_a_visitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, accept: str
) -> None:
    """A browser is sent to sign in, a script gets 401; the visitor's session is left alone."""
    modules = fork(monkeypatch, routes=[("/private", PrivateHandler)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        headers = {"Accept": accept}
        ask = visitor.get if method == "GET" else visitor.post
        status, text = await ask("/private", headers=headers)
        if accept == "text/html":
            assert status in (302, 303)
        else:
            assert (status, text) == (401, '{"error": "sign in first"}')
        assert await visitor.incr() == 2
        await visitor.sign_up("ada")
        assert await ask("/private", headers=headers) == (200, "private")


class RefusingHandler(BaseHandler):
    """Refuses for reasons of its own, before, beside and inside of Tornado's decorator."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.get_query_argument("at", "") == "prepare":
            raise HTTPError(403)

    def get(self) -> None:
        raise HTTPError(403)

    async def post(self) -> None:
        await asyncio.sleep(0)
        if self.get_query_argument("at", "") == "super":
            self.put()
        raise HTTPError(403)

    @authenticated
    def put(self) -> None:
        raise HTTPError(403)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("at", ["method", "prepare"])
@pytest.mark.parametrize("user", ["visitor", "ada"])
async def test_a_403_of_a_handler_stays_403(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, at: str, user: str
) -> None:
    """Signing in would not help; for a browser it is a page, for a script JSON."""
    modules = fork(monkeypatch, routes=[("/refusing", RefusingHandler)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        if user != "visitor":
            await visitor.sign_up(user)
        ask = visitor.get if method == "GET" else visitor.post
        path = f"/refusing?at={at}"
        status, text = await ask(path, headers={"Accept": "text/html"})
        assert (status, "Forbidden" in text) == (403, True)
        script = await ask(path, headers={"Accept": "application/json"})
        assert script == (403, '{"error": "Forbidden"}')


@pytest.mark.parametrize(("user", "status"), [("visitor", 303), ("ada", 403)])
async def test_a_guarded_method_that_another_one_calls_leads_to_the_sign_in_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: str, status: int
) -> None:
    """The decorator refuses visitors wherever it stands; what it lets through is not its own."""
    modules = fork(monkeypatch, routes=[("/refusing", RefusingHandler)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        if user != "visitor":
            await visitor.sign_up(user)
        answer = await visitor.post("/refusing?at=super", headers={"Accept": "text/html"})
        assert answer[0] == status


async def test_pages_that_make_sessions_have_a_rate(tmp_path: Path) -> None:
    """A visitor too many gets 429 and when to come back; who has a session goes on."""
    account = {"username": "ada", "password": "correct horse battery"}
    async with (
        serve(tmp_path, handshakes_per_minute=2) as site,
        Visitor(site.url) as one,
        Visitor(site.url) as two,
        Visitor(site.url) as three,
    ):
        await one.incr()
        await two.incr()
        for path in ("/incr", "/register"):
            async with three.http.post(site.url + path, json=account) as answer:
                assert answer.status == 429
                assert 1 <= int(answer.headers["Retry-After"]) <= 60
                assert "wait" in (await answer.json())["error"]
        assert await site.services.accounts.verify("ada", account["password"]) is None
        assert await one.incr() == 2
        assert three.cookie == ""
        await one.sign_up("ada")
