"""Several requests on one connection: their order, their isolation and their memory."""

from __future__ import annotations

import asyncio
import contextvars
import json
import weakref
from typing import Any

import pytest

from tests.support.http_client import request
from tests.support.http_site import http_site
from tests.support.waiting import until


async def test_a_connection_serves_one_request_after_the_other() -> None:
    """An HTTP/1.1 connection stays open unless one side sends `Connection: close`."""
    async with http_site() as site:
        client = await site.client()
        for path in ("/a", "/b", "/c"):
            await client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, body = await client.response()
            assert json.loads(body)[1] == path
            assert b"Connection" not in head
        await client.close()


async def test_pipelined_requests_are_answered_in_order_and_one_at_a_time() -> None:
    """The second request begins after the response to the first."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + request("/last"))
        await until(lambda: site.waiting)
        await asyncio.sleep(0.05)
        assert site.waiting == 1
        site.go_on.set()
        answer = await client.rest()
        assert site.waiting == 2
        assert answer.count(b"HTTP/1.1 200") == 3
        assert answer.index(b"done") < answer.index(b"/last")
        await client.close()


async def test_each_pipelined_request_has_its_own_context() -> None:
    """A handler does not see a context variable that an earlier handler set."""
    import tornado.web

    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    class Handler(tornado.web.RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0.01)
            self.write(user.get())
            user.set("somebody")

    async with http_site() as site:
        site.app.add_handlers(".*", [("/user", Handler)])
        answer = await site.talk(b"GET /user HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + request("/user"))
        assert answer.count(b"nobody") == 3


@pytest.mark.parametrize("waits", [False, True])
async def test_two_requests_never_share_a_task(waits: bool) -> None:
    """Data kept for the task of one request is absent in the next, and is released."""
    import tornado.web

    kept: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
    released: list[str] = []

    class Handler(tornado.web.RequestHandler):
        async def get(self, name: str) -> None:
            task: Any = asyncio.current_task()
            self.write(f"{kept.get(task)} {getattr(task, 'user', None)};")
            kept[task] = task.user = name
            task.add_done_callback(lambda _: released.append(name))
            if waits:
                await asyncio.sleep(0)
                assert asyncio.current_task() is task

    async with http_site() as site:
        site.app.add_handlers(".*", [("/user/(.*)", Handler)])
        for name in ("ann", "bob", "ann"):
            assert b"None None;" in await site.talk(request(f"/user/{name}"))
        assert released == ["ann", "bob", "ann"]


async def test_each_pipelined_request_has_its_own_turn_of_the_loop() -> None:
    """This holds for handlers that never wait, too."""
    import tornado.web

    loop, turns = asyncio.get_running_loop(), 0
    begun: list[Any] = []

    def turn() -> None:
        nonlocal turns
        turns += 1
        if len(begun) < 50:
            loop.call_soon(turn)

    class Handler(tornado.web.RequestHandler):
        def get(self) -> None:
            begun.append(turns)

    async with http_site() as site:
        site.app.add_handlers(".*", [("/turn", Handler)])
        turn()
        await site.talk(b"GET /turn HTTP/1.1\r\nHost: x\r\n\r\n" * 49 + request("/turn"))
        assert len(set(begun)) == 50


async def test_reading_pauses_while_pipelined_requests_take_turns() -> None:
    """The server keeps at most 64 kB of requests that have not begun."""
    longest = 0
    async with http_site() as site:
        client = await site.client()
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 5000 + request()
        flood = asyncio.create_task(client.send(data))
        drop = asyncio.create_task(client.rest())
        while not drop.done():
            await asyncio.sleep(0)
            longest = max(
                [longest, *(len(one.requests.input.data) for one in site.server.connections)]
            )
        await flood
        await client.close()
        assert 0 < longest <= 65_536


async def test_reading_pauses_while_a_handler_runs() -> None:
    """While a handler runs, the server keeps at most one read of the next requests."""
    async with http_site() as site:
        client = await site.client()
        await client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: site.waiting)
        flood = asyncio.create_task(client.send(request() * 400_000))
        await asyncio.sleep(0.2)
        (connection,) = site.server.connections
        assert not flood.done()
        assert len(connection.requests.input.data) <= 65_536
        client.writer.transport.abort()
        await flood
