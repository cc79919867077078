"""Hooks of a fork: session end, login, connect, disconnect; and login_required."""

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
    """Return a list, and a hook that appends (user, count, reason) of each end."""
    ends: Ends = []

    async def on_session_end(session: Any, reason: str) -> None:
        ends.append((session.user, session.data.count, reason))

    return ends, on_session_end


async def test_logout_calls_the_hook_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the response `on_session_end` gets the latest session and `logout`."""
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
    """The reason for the end of the old id is `regenerated`."""
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
    """The hook is called once for an idle session, whether it has sockets or only a record."""
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
        await site.services.expiry.run_round()
        assert ends == [(None, 1, "idle")]


async def test_a_failing_hook_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When a hook raises, the logout succeeds, the sockets close, and the error is logged."""

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
    """Counts ten for each connect and a hundred for each disconnect."""

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
    """The first event and the next page have the change of `on_connect`."""
    modules = fork(monkeypatch, namespaces=[("/arrivals", ArrivalsNamespace)])
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, mode, namespaces=("/arrivals",))
        assert await socket.call("count", namespace="/arrivals") == 10
        assert await visitor.incr() == 11


@each_mode
async def test_a_disconnect_handler_edits_the_session(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next page has the change of `on_disconnect`."""
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
        namespace = site.services.socket_server.namespace_handlers["/arrivals"]
        await visitor.post("/logout")
        await until(lambda: not len(namespace._clients))
        assert not store.ids
    assert "Traceback" not in caplog.text


class MembersNamespace(BaseNamespace):
    """A namespace for users only."""

    login_required = True

    async def on_whoami(self, sid: str) -> str | None:
        return await self.user_for(sid)


@each_mode
async def test_login_required_refuses_a_visitor(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor gets connect_error `unauthorized`, and keeps other namespaces."""
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
    """A user who signed in on a page may connect, and the namespace knows the name."""
    modules = fork(monkeypatch, namespaces=[("/members", MembersNamespace)])
    async with serve(tmp_path, modules=modules) as site, browser(client, site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await joined(visitor, mode, namespaces=("/members",))
        assert await socket.call("whoami", namespace="/members") == "ada"


async def test_a_refused_client_cannot_emit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event to a namespace that refused its client runs no handler."""
    modules = fork(monkeypatch, namespaces=[("/members", MembersNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/", "/members"))
        await socket.packet('2/members,7["whoami"]')
        assert await socket.call("count") == 0  # events of one client arrive in order
        assert ("/members", "event") not in [(name, what) for name, what, _ in socket.log]


async def test_a_hook_may_be_a_plain_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks need not be coroutines."""
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
async def test_the_login_hook_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    """`on_login` is called for each sign-in, and not for a new id of the same login."""
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
    """When it raises, the login succeeds, and the error is logged."""

    def on_login(session: Any) -> None:
        raise ZeroDivisionError

    modules = fork(monkeypatch, on_login=on_login)
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await joined(visitor, "websocket")
        assert await socket.call("whoami") == "ada"
    assert "ZeroDivisionError" in caplog.text


class PrivateHandler(BaseHandler):
    """A page for users only, by Tornado's decorator."""

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
    """A browser is redirected to sign in, a script gets 401; the session is not changed."""
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
    """Refuses requests itself, before, beside and inside of Tornado's decorator."""

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
    """Signing in would not help. A browser gets a page, a script JSON."""
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
    """The decorator refuses visitors on any method; errors of the method are not its own."""
    modules = fork(monkeypatch, routes=[("/refusing", RefusingHandler)])
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        if user != "visitor":
            await visitor.sign_up(user)
        answer = await visitor.post("/refusing?at=super", headers={"Accept": "text/html"})
        assert answer[0] == status


async def test_pages_that_create_sessions_are_rate_limited(tmp_path: Path) -> None:
    """A visitor beyond the limit gets 429 and Retry-After; visitors with a session go on."""
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
