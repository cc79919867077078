"""The main job: one session, raised from a page and from a socket."""

from __future__ import annotations

from typing import Any

import pytest

from tests.handlers.site import MODULES
from tests.support.visitor import Visitor
from tests.support.waiting import until


@pytest.fixture
def latchkey_options(latchkey_options: dict[str, Any]) -> dict[str, Any]:
    """Serve the modules of upstream, of which a fork may leave out some."""
    return {**latchkey_options, "modules": MODULES}


async def test_a_page_and_a_socket_raise_the_same_counter(visitor: Visitor) -> None:
    """Page, event, page: 1, 2, 3; and the page's change reaches the socket."""
    assert await visitor.incr() == 1
    socket = await visitor.socket()
    assert await socket.call("incr") == 2
    assert await visitor.incr() == 3
    assert await socket.event("current count") == 3


async def test_whoami_acks_null_for_a_visitor_and_then_the_name(visitor: Visitor) -> None:
    """A null is one argument of the ack, as it is in JavaScript."""
    socket = await visitor.socket("websocket")
    acks: list[tuple[object, ...]] = []
    await socket.client.emit("whoami", callback=lambda *args: acks.append(args))
    await until(lambda: acks == [(None,)])
    await visitor.sign_up("ann")
    assert await (await visitor.socket("websocket")).call("whoami") == "ann"
