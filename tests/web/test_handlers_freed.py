"""A handler is freed once its page is sent, without the garbage collector."""

from __future__ import annotations

import pytest
from tornado.web import RequestHandler

from tests.support.freed import in_memory, no_collections
from tests.support.site import Site
from tests.support.visitor import Visitor
from tests.support.waiting import until

__all__ = ["no_collections"]


@pytest.mark.usefixtures("no_collections")
async def test_handlers_of_visitors_and_users_are_freed(site: Site, visitor: Visitor) -> None:
    """Only Tornado's templates keep the handler that renders them, until a collection."""
    assert (await visitor.get("/healthz"))[0] == 200
    assert await visitor.incr() == 1
    await visitor.sign_up("ann")
    assert await visitor.incr() == 2
    socket = await visitor.socket()
    await socket.call("incr")
    await socket.close()
    await until(lambda: not in_memory(RequestHandler), 5)
