"""The main job: one session, raised from a page and from a socket."""

from __future__ import annotations

from pathlib import Path

from tests.handlers.site import serve_handlers
from tests.support.visitor import Visitor
from tests.support.waiting import until


async def test_a_page_and_a_socket_raise_the_same_counter(tmp_path: Path) -> None:
    """Page, event, page: 1, 2, 3; and the page's change reaches the socket."""
    async with serve_handlers(tmp_path) as site, Visitor(site.url) as visitor:
        assert await visitor.incr() == 1
        socket = await visitor.socket()
        assert await socket.call("incr") == 2
        assert await visitor.incr() == 3
        await until(lambda: ("current count", (3,)) in socket.received)
        await socket.close()


async def test_whoami_acks_null_for_a_visitor_and_then_the_name(tmp_path: Path) -> None:
    """A null is one argument of the ack, as it is in JavaScript."""
    async with serve_handlers(tmp_path) as site, Visitor(site.url) as visitor:
        socket = await visitor.socket("websocket")
        acks: list[tuple[object, ...]] = []
        await socket.client.emit("whoami", callback=lambda *args: acks.append(args))
        await until(lambda: acks == [(None,)])
        await socket.close()
        await visitor.sign_up("ann")
        socket = await visitor.socket("websocket")
        assert await socket.call("whoami") == "ann"
        await socket.close()
