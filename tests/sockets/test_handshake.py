"""Decisions of a handshake before anything is accepted, byte by byte."""

from __future__ import annotations

import asyncio
import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from tornado.web import HTTPError

from app.sockets.handshake import HandshakeHandler
from tests.support.browsers import each_transport
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.raw import POLLING, UPGRADE, WEBSOCKET, Answer, Raw
from tests.support.site import serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

FOREIGN = ("Origin", "https://evil.example")


async def handshake(raw: Raw, transport: str, *headers: tuple[str, str]) -> Answer:
    """Request a connection by this transport and return the head of the response."""
    if transport == "websocket":
        return await raw.websocket(*headers)
    return await raw.ask(POLLING, *headers)


ACCEPTED = {"polling": 200, "websocket": 101}


@pytest.mark.asvs("7.6.2")
@pytest.mark.express("H4")
@each_transport
async def test_the_cookie_is_on_the_first_response(tmp_path: Path, transport: str) -> None:
    """Both the polling response and the 101 carry exactly one Set-Cookie."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport)
        assert answer.status == ACCEPTED[transport]
        (cookie,) = answer.all("Set-Cookie")
        assert cookie.startswith("latchkey=")
        assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))


@pytest.mark.express("B1")
@each_transport
async def test_the_session_is_stored_before_its_cookie_leaves(
    tmp_path: Path, transport: str
) -> None:
    """When the first bytes of the response arrive, the slow store has the record."""
    store = WatchedStore(save_takes=0.1)
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport)
        ids = store.ids
        assert ids == {answer.cookie.partition("=")[2].partition(".")[0]}


@each_transport
async def test_a_known_cookie_is_not_sent_again(tmp_path: Path, transport: str) -> None:
    """A handshake with a living session's cookie creates no session and sets no cookie."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        async with Visitor(site.url) as visitor:
            await visitor.incr()
            answer = await handshake(raw, transport, ("Cookie", visitor.cookie))
        assert answer.status == ACCEPTED[transport]
        assert answer.cookie == ""
        assert len(store.ids) == 1


@pytest.mark.asvs("3.5.1")
@each_transport
@pytest.mark.attack("A19")
async def test_a_foreign_origin_gets_403_and_no_session(tmp_path: Path, transport: str) -> None:
    """Another site's page is refused before the 101; nothing is stored and no cookie set."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport, FOREIGN)
        assert answer.status == 403
        assert answer.cookie == ""
        assert not store.ids


@pytest.mark.asvs("3.5.1")
@each_transport
async def test_a_cross_site_request_without_origin_gets_403(tmp_path: Path, transport: str) -> None:
    """Browsers leave Origin out of some requests; then Sec-Fetch-Site decides."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport, ("Sec-Fetch-Site", "cross-site"))
        assert answer.status == 403


@each_transport
async def test_the_own_origin_is_allowed(tmp_path: Path, transport: str) -> None:
    """A page of this very host may connect."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport, ("Origin", site.url))
        assert answer.status == ACCEPTED[transport]


@each_transport
async def test_a_trusted_origin_is_allowed(tmp_path: Path, transport: str) -> None:
    """An origin in --trusted-origins may connect and read the answer with credentials."""
    async with serve(tmp_path, trusted_origins=("https://evil.example",)) as site:
        async with Raw(site.url) as raw:
            answer = await handshake(raw, transport, FOREIGN)
        assert answer.status == ACCEPTED[transport]
        assert answer.all("Access-Control-Allow-Origin") == ["https://evil.example"]


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ("\xa0upgrade", 400),
        ("upgrade\x85", 400),
        ("close,\xa0upgrade", 400),
        ("close,\t upgrade", 101),
    ],
)
async def test_a_connection_option_has_its_exact_name(
    tmp_path: Path, value: str, status: int
) -> None:
    """Only spaces and tabs may stand around it."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        headers = {**UPGRADE, "Connection": value}
        assert (await raw.ask(WEBSOCKET, *headers.items())).status == status


@each_transport
async def test_a_claimed_host_does_not_make_an_origin_ours(tmp_path: Path, transport: str) -> None:
    """X-Forwarded-Host counts only from a trusted proxy."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        claim = ("X-Forwarded-Host", "evil.example")
        answer = await handshake(raw, transport, FOREIGN, claim)
        assert answer.status == 403


@each_transport
async def test_a_client_that_leaves_during_the_handshake_gets_no_connection(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that left while the hook ran is not counted among the session's connections."""
    asked: list[HandshakeHandler] = []
    go_on = asyncio.Event()

    async def hesitate(handler: HandshakeHandler) -> None:
        asked.append(handler)
        await go_on.wait()

    modules = fork(monkeypatch, before_handshake=hesitate)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        async with Raw(site.url) as raw:
            upgrade = UPGRADE.items() if transport == "websocket" else ()
            path = WEBSOCKET if transport == "websocket" else POLLING
            raw.write(path, *upgrade, ("Cookie", visitor.cookie))
            await until(lambda: asked)
            assert site.services.connections._reserved
        connection: Any = asked[0].request.connection
        await until(lambda: connection.closed)
        go_on.set()
        await until(lambda: not site.services.connections._reserved)
        assert len(site.services.connections) == 0
        assert 'latchkey_handshakes_total{result="accepted"} 0.0' in (
            site.services.metrics.text().decode()
        )


async def refuse(handler: Any) -> None:
    raise HTTPError(401)


@each_transport
async def test_a_hook_refuses_before_the_101(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork's `before_handshake` refuses with its own status."""
    modules = fork(monkeypatch, before_handshake=refuse)
    async with serve(tmp_path, modules=modules) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport)
        assert answer.status == 401
        assert len(site.services.connections) == 0


@each_transport
async def test_a_refused_handshake_leaves_no_session(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused client gets no cookie, so no record is stored."""
    store = WatchedStore()
    modules = fork(monkeypatch, before_handshake=refuse)
    async with serve(tmp_path, store=store, modules=modules) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport)
        assert answer.cookie == ""
        assert not store.ids


async def only_known(handler: Any) -> None:
    if handler.session.user is None:
        raise HTTPError(401)


@each_transport
async def test_a_hook_has_the_session_of_the_user(
    tmp_path: Path, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`before_handshake` has the session of the cookie as `handler.session`."""
    modules = fork(monkeypatch, before_handshake=only_known)
    async with serve(tmp_path, modules=modules) as site, Visitor(site.url) as visitor:
        await visitor.sign_up("ada")
        async with Raw(site.url) as raw:
            answer = await handshake(raw, transport, ("Cookie", visitor.cookie))
        assert answer.status == ACCEPTED[transport]


class WhereNamespace(BaseNamespace):
    """Tells a client the address of its handshake."""

    def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        self.address = environ["REMOTE_ADDR"]

    def on_address(self, sid: str) -> Any:
        return self.address


async def seen_address(url: str, transport: str, source: str, forwarded: str = "") -> str:
    """Connect from this loopback address and return the address that the server sees."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with aiohttp.ClientSession(connector=connector) as http:
        client = socketio.AsyncSimpleClient(http_session=http, reconnection=False)
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        await client.connect(url, headers=headers, transports=[transport], namespace="/where")
        return str(await client.call("address", timeout=5))


@each_transport
@pytest.mark.parametrize(
    ("proxies", "forwarded", "wanted"),
    [
        ("", "", "127.0.0.5"),
        ("", "203.0.113.9", "127.0.0.5"),
        ("127.0.0.5", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.5", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.5,203.0.113.9", "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        ("127.0.0.5", "not an address", "127.0.0.5"),
    ],
)
async def test_environ_has_the_clients_address(
    tmp_path: Path,
    transport: str,
    proxies: str,
    forwarded: str,
    wanted: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """REMOTE_ADDR is the client's; X-Forwarded-For counts only from trusted proxies."""
    modules = fork(monkeypatch, namespaces=[("/where", WhereNamespace)])
    networks = tuple(ip_network(word) for word in proxies.split(",") if word)
    async with serve(tmp_path, modules=modules, trusted_proxies=networks) as site:
        assert await seen_address(site.url, transport, "127.0.0.5", forwarded) == wanted


@pytest.mark.express("E3")
@each_transport
async def test_https_at_a_trusted_proxy_makes_a_host_cookie(tmp_path: Path, transport: str) -> None:
    """Behind a trusted proxy with TLS the handshake's cookie is Secure and `__Host-`."""
    networks = (ip_network("127.0.0.1"),)
    async with serve(tmp_path, trusted_proxies=networks) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport, ("X-Forwarded-Proto", "https"))
        (cookie,) = answer.all("Set-Cookie")
        assert cookie.startswith("__Host-latchkey=")
        assert "Secure" in cookie.split("; ")


@pytest.mark.express("D3")
@each_transport
async def test_a_plain_client_cannot_claim_https(tmp_path: Path, transport: str) -> None:
    """X-Forwarded-Proto counts only from a trusted proxy."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        answer = await handshake(raw, transport, ("X-Forwarded-Proto", "https"))
        (cookie,) = answer.all("Set-Cookie")
        assert cookie.startswith("latchkey=")
        assert "Secure" not in cookie.split("; ")


async def test_an_upgrade_after_the_end_is_an_unknown_id(visitor: Visitor) -> None:
    """Packets that wait for a last poll do not let a WebSocket in."""
    _, opened = await visitor.get("/socket.io/?EIO=4&transport=polling")
    sid = json.loads(opened[1:])["sid"]
    polling = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
    await visitor.post(polling, data="40")
    await visitor.get(polling)
    cookie = visitor.cookie
    await visitor.post("/logout")
    upgrade = {
        "Cookie": cookie,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    path = f"/socket.io/?EIO=4&transport=websocket&sid={sid}"
    assert (await visitor.get(path, headers=upgrade))[0] == 400
    assert "session ended" in (await visitor.get(polling, headers={"Cookie": cookie}))[1]


@pytest.mark.parametrize("path", [POLLING, WEBSOCKET])
@pytest.mark.attack("A42")
async def test_concurrent_handshakes_stay_within_the_limit(tmp_path: Path, path: str) -> None:
    """Handshakes under way count as well as open connections."""
    async with serve(tmp_path, max_connections_per_session=5) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        cookie = ("Cookie", visitor.cookie)
        raws = [await Raw(site.url).__aenter__() for _ in range(60)]
        headers = tuple(UPGRADE.items()) if path == WEBSOCKET else ()
        for raw in raws:
            raw.write(path, *headers, cookie)
        answers = [await raw.answer() for raw in raws]
        statuses = [answer.status for answer in answers]
        await until(lambda: not site.services.connections._reserved)
        assert len(site.services.connections) <= 5, statuses
        for raw in raws:
            raw.writer.close()
