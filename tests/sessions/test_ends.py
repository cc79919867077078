"""The end of a session closes all its connections, and no others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.transport.engineio.probe import Probe
from tests.support.browsers import browser, each_client, each_mode, ended, joined, session_id
from tests.support.clock import Clock
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.raw import POLLING, Raw
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore


async def poll_in(url: str, cookie: tuple[str, str]) -> str:
    """Join by polling with plain requests; return the path of the connection."""
    async with Raw(url) as raw:
        opened = await raw.ask(POLLING, cookie)
        path = POLLING + "&sid=" + opened.body.partition('"sid":"')[2].partition('"')[0]
        assert (await raw.ask(path, cookie, method="POST", body=b"40")).status == 200
        assert (await raw.ask(path, cookie)).body.startswith("40")
        return path


class QuietNamespace(BaseNamespace):
    """A second namespace, without handlers."""


@pytest.mark.express("N6")
@each_mode
async def test_logout_closes_every_namespace(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each namespace of the official client is told `session ended` and then disconnected."""
    modules = fork(monkeypatch, namespaces=[("/quiet", QuietNamespace)])
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await joined(visitor, mode, namespaces=("/", "/quiet"))
        await visitor.post("/logout")
        for namespace in ("/", "/quiet"):
            await until(lambda namespace=namespace: socket.ends(namespace))
            assert ended(socket, namespace) == [{"reason": "logout", "reconnect": True}]
            told = [what for name, what, _ in socket.log if name == namespace]
            assert told == ["connect", "event", "disconnect"]


async def test_a_client_whose_session_ends_while_it_upgrades_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It polls no more then, and its WebSocket is not yet the transport of its connection."""
    receive, ends = Probe.receive, set[asyncio.Task[None]]()

    async def end_first(probe: Probe, packet: str | bytes) -> None:
        """End the session when the client's upgrade has arrived, but was not acted on."""
        assert await site.services.sessions.end(session_id(visitor.cookie))
        receive(probe, packet)

    def receive_upgrade(probe: Probe, packet: str | bytes) -> None:
        if packet == "5" and not ends:
            ends.add(asyncio.create_task(end_first(probe, packet)))
        else:
            receive(probe, packet)

    monkeypatch.setattr(Probe, "receive", receive_upgrade)
    async with serve(tmp_path) as site, NodeVisitor(site.url) as visitor:
        await visitor.sign_up("ada")
        socket = await visitor.socket(reconnection=True)
        await until(lambda: ended(socket))
        assert ended(socket) == [{"reason": "revoked", "reconnect": True}]
        await asyncio.gather(*ends)


@each_client
@each_mode
@pytest.mark.attack("A5")
async def test_logout_closes_the_socket_of_every_tab(
    tmp_path: Path, client: str, mode: str
) -> None:
    """All connections of the session are closed when the logout's response has arrived."""
    async with serve(tmp_path) as site, browser(client, site.url) as visitor:
        await visitor.sign_up("ada")
        tabs = [await joined(visitor, mode) for _ in range(3)]
        ours = session_id(visitor.cookie)
        assert site.services.connections.count(ours) == 3
        await visitor.post("/logout")
        assert site.services.connections.count(ours) == 0
        await until(lambda: all(ended(tab) for tab in tabs))


@each_client
@each_mode
async def test_logout_leaves_other_sessions_alone(tmp_path: Path, client: str, mode: str) -> None:
    """Another device of the same user stays signed in and connected."""
    async with (
        serve(tmp_path) as site,
        browser(client, site.url) as here,
        browser(client, site.url) as there,
    ):
        await here.sign_up("ada")
        await there.sign_in("ada")
        socket = await joined(there, mode)
        await here.post("/logout")
        assert await socket.call("whoami") == "ada"
        assert ended(socket) == []


@pytest.mark.asvs("7.4.1")
async def test_an_old_websocket_is_ignored_after_the_logout(site: Site, visitor: Visitor) -> None:
    """After the logout CONNECT and an event on the old WebSocket get no answer."""
    async with Raw(site.url) as raw:
        await visitor.sign_up("ada")
        await raw.websocket(("Cookie", visitor.cookie))
        raw.send("40")
        while not (await raw.receive() or "40").startswith("40"):
            pass
        await visitor.post("/logout")
        raw.send("40")
        raw.send('420["whoami"]')
        rest = await raw.until_closed()
        assert rest[0] == '42["session ended",{"reason":"logout","reconnect":true}]'
        assert not any(text.startswith(("40", "43")) for text in rest)


@pytest.mark.asvs("7.4.1")
async def test_an_old_polling_client_is_refused_after_the_logout(
    site: Site, visitor: Visitor
) -> None:
    """After the logout an Engine.IO id takes no CONNECT, whatever cookie comes with it."""
    await visitor.sign_up("ada")
    cookie = ("Cookie", visitor.cookie)
    path = await poll_in(site.url, cookie)
    await visitor.post("/logout")
    async with Raw(site.url) as raw:
        assert (await raw.ask(path, cookie, method="POST", body=b"40")).status == 400
    for _ in range(2):
        async with Raw(site.url) as raw:
            assert "40{" not in (await raw.ask(path, cookie)).body


async def test_a_waiting_poll_is_answered_by_the_end(site: Site, visitor: Visitor) -> None:
    """A poll that waits during the logout returns with `session ended` at once."""
    async with Raw(site.url) as poll:
        await visitor.sign_up("ada")
        cookie = ("Cookie", visitor.cookie)
        poll.write(await poll_in(site.url, cookie), cookie)
        connections = site.services.socket_server.engine.connections
        await until(
            lambda: any(getattr(one.transport, "polled", False) for one in connections.values())
        )
        await visitor.post("/logout")
        answer = await poll.answer(seconds=2)
        assert '42["session ended",{"reason":"logout","reconnect":true}]' in answer.body


@each_client
async def test_a_client_that_is_told_to_disconnect_stays_away(tmp_path: Path, client: str) -> None:
    """With --on-session-end=disconnect the client does not reconnect by itself."""
    async with (
        serve(tmp_path, on_session_end="disconnect") as site,
        browser(client, site.url) as visitor,
    ):
        await visitor.sign_up("ada")
        socket = await joined(visitor, "websocket", reconnection=True)
        await visitor.post("/logout")
        await until(lambda: ended(socket) == [{"reason": "logout", "reconnect": False}])
        # four times as long as the client waits before it tries again
        with pytest.raises(AssertionError, match="in time"):
            await until(lambda: socket.connects > 1, 0.8)
        assert len(site.services.connections) == 0


@each_mode
async def test_the_official_client_knows_that_the_server_disconnected(
    tmp_path: Path, mode: str
) -> None:
    """With --on-session-end=disconnect its reason is `io server disconnect`; it stays away."""
    async with (
        serve(tmp_path, on_session_end="disconnect") as site,
        NodeVisitor(site.url) as visitor,
    ):
        await visitor.sign_up("ada")
        socket = await joined(visitor, mode, reconnection=True)
        await visitor.post("/logout")
        await until(lambda: bool(socket.ends()))
        assert socket.ends() == ["io server disconnect"]
        assert socket.attempts == 0


@each_client
@each_mode
async def test_a_client_that_is_told_to_reconnect_gets_a_new_session(
    tmp_path: Path, client: str, mode: str
) -> None:
    """With --on-session-end=reconnect the client reconnects by itself, in a new session."""
    async with serve(tmp_path) as site, browser(client, site.url) as visitor:
        await visitor.sign_up("ada")
        await visitor.incr()
        socket = await joined(visitor, mode, reconnection=True)
        await visitor.post("/logout")
        await until(lambda: socket.connects == 2)
        assert await socket.call("whoami") is None
        assert await socket.call("count") == 0


@pytest.mark.asvs("7.4.5")
@each_mode
async def test_a_deleted_record_closes_its_sockets(tmp_path: Path, mode: str) -> None:
    """An operator removes a record from the store: its sockets are closed within half a minute."""
    store, clock = WatchedStore(), Clock()
    async with (
        serve(tmp_path, store=store, clock=clock, expiry_interval=0.05) as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode)
        store.lose(session_id(visitor.cookie))
        clock.now += 31
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        await until(lambda: bool(socket.ends()))


@pytest.mark.express("N9")
@each_client
async def test_an_event_notices_a_deleted_record_at_once(tmp_path: Path, client: str) -> None:
    """The first event after the removal is refused, changes nothing and closes the socket."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, browser(client, site.url) as visitor:
        socket = await joined(visitor, "websocket")
        store.lose(session_id(visitor.cookie))
        await socket.emit("incr") if client == "official" else await socket.client.emit("incr")
        await until(lambda: ended(socket) == [{"reason": "revoked", "reconnect": True}])
        assert not store.ids
        await until(lambda: len(site.services.connections) == 0)
