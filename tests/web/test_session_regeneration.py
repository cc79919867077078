"""A sign-in changes the session id; sockets of the browser reconnect with the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browsers import (
    PythonVisitor,
    browser,
    each_client,
    each_mode,
    ended,
    joined,
    session_id,
)
from tests.support.node_client import Driver, NodeVisitor
from tests.support.raw import Raw
from tests.support.site import Site, serve
from tests.support.visitor import Visitor
from tests.support.waiting import until
from tests.support.watched_store import WatchedStore

REGENERATED = [{"reason": "regenerated", "reconnect": True}]


@each_client
@each_mode
async def test_an_open_socket_comes_back_signed_in(tmp_path: Path, client: str, mode: str) -> None:
    """Login closes the browser's socket, which reconnects by itself with the new cookie."""
    async with serve(tmp_path) as site, browser(client, site.url) as visitor:
        await visitor.incr()
        socket = await joined(visitor, mode, reconnection=True)
        assert await socket.call("whoami") is None
        await visitor.sign_up("ada")
        await until(lambda: socket.connects == 2)
        assert ended(socket) == REGENERATED
        assert await socket.call("whoami") == "ada"
        assert await socket.call("count") == 1


@each_mode
async def test_even_where_ends_disconnect_a_login_reconnects(tmp_path: Path, mode: str) -> None:
    """--on-session-end=disconnect does not keep away who has just signed in."""
    async with (
        serve(tmp_path, on_session_end="disconnect") as site,
        NodeVisitor(site.url) as visitor,
    ):
        socket = await joined(visitor, mode, reconnection=True)
        await visitor.sign_up("ada")
        await until(lambda: socket.connects == 2)
        assert await socket.call("whoami") == "ada"


@pytest.mark.asvs("7.2.4")
@each_mode
async def test_whoever_knew_the_old_id_is_closed_and_stays_a_stranger(
    tmp_path: Path, mode: str
) -> None:
    """A client with the fixed cookie loses its socket and comes back in a session of its own."""
    transports = {"polling": ["polling"], "websocket": ["websocket"]}.get(mode, [])
    async with serve(tmp_path) as site, NodeVisitor(site.url) as visitor:
        await visitor.incr()
        old = visitor.cookie
        thief = await Driver.start()
        socket = await thief.connect(
            site.url, *transports, extraHeaders={"cookie": old}, reconnection=True
        )
        assert await socket.call("count") == 1
        await visitor.sign_up("ada")
        await until(lambda: socket.connects == 2)
        assert await socket.call("whoami") is None
        assert await socket.call("count") == 0
        await thief.stop()


@pytest.mark.express("N7")
async def test_the_old_cookie_is_a_strangers(tmp_path: Path) -> None:
    """After a login the former cookie opens neither page nor socket of the session."""
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, PythonVisitor(site.url) as visitor:
        await visitor.incr()
        old = visitor.cookie
        await visitor.sign_up("ada")
        assert store.ids == {session_id(visitor.cookie)}
        async with Raw(site.url) as raw:
            answer = await raw.ask("/incr", Cookie=old, method="POST", body=b"")
        assert answer.body == "1"
        assert session_id(answer.cookie) not in (session_id(old), session_id(visitor.cookie))


async def test_a_websocket_of_the_old_id_is_closed(site: Site, visitor: Visitor) -> None:
    """A raw client that ignores the close gets nothing more on its old WebSocket."""
    async with Raw(site.url) as raw:
        await visitor.incr()
        await raw.websocket(("Cookie", visitor.cookie))
        raw.send("40")
        while not (await raw.receive() or "40").startswith("40"):
            pass
        await visitor.sign_up("ada")
        raw.send('420["whoami"]')
        rest = await raw.until_closed()
        assert not any("ada" in text or text.startswith("43") for text in rest)


async def test_a_login_keeps_the_sockets_of_other_sessions(tmp_path: Path) -> None:
    """Only the sockets of the id that was replaced are closed."""
    async with (
        serve(tmp_path) as site,
        PythonVisitor(site.url) as here,
        PythonVisitor(site.url) as there,
    ):
        await here.sign_up("ada")
        socket = await joined(here, "websocket")
        await there.sign_in("ada")
        assert await socket.call("whoami") == "ada"
        assert ended(socket) == []


async def test_an_event_that_comes_before_the_announcement_hears_of_a_new_id(
    tmp_path: Path,
) -> None:
    """Told to stay away at an end, a tab is still welcome back after a login."""
    async with serve(tmp_path, on_session_end="disconnect") as site, Visitor(site.url) as visitor:
        await visitor.incr()
        socket = await visitor.socket("websocket")
        sessions = site.services.sessions
        (session_id,) = site.services.connections.session_ids()
        old = await sessions.session_for(session_id)
        await sessions.sign_in(old, "ann", remote_address="", user_agent="")
        await socket.client.emit("count")
        told = {"reason": "regenerated", "reconnect": True}
        await until(lambda: ("session ended", (told,)) in socket.received)
        await socket.close()
