"""The CPU time that our own parts of the transport save, against the libraries they replace.

`python -m bench.parts` measures the server's CPU per operation on uvloop, medians of five
interleaved rounds. `docs/architecture.md` has the figures. The rows of `python -m bench` compare
WebSocket, Engine.IO, Socket.IO and Redis with the stock servers.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import tornado.web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from app.transport.http.dispatcher import Dispatcher
from app.transport.http.server import HttpServer
from app.transport.tasks import Tasks

ROUNDS = 5
CLIENTS = 50
REQUESTS = 5_000
TASKS = 100_000

Measure = Callable[[], Coroutine[Any, Any, float]]


class Hello(tornado.web.RequestHandler):
    """The smallest page."""

    def get(self) -> None:
        self.write("hello")


class Asking(asyncio.Protocol):
    """Sends the next GET when a response has come, so many times."""

    def __init__(self, times: int, done: asyncio.Future[None]) -> None:
        self.times, self.done = times, done
        self.transport: Any = None  # uvloop's is no asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.transport.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self.times -= 1
        if self.times > 0:
            self.ask()
        else:
            self.transport.close()
            self.done.set_result(None)


async def ask(port: int) -> None:
    """Send all requests; runs in the other process."""
    loop = asyncio.get_running_loop()
    ends = [loop.create_future() for _ in range(CLIENTS)]
    for end in ends:
        asking = functools.partial(Asking, REQUESTS // CLIENTS, end)
        await loop.create_connection(asking, "127.0.0.1", port)
    await asyncio.gather(*ends)


async def load(port: int) -> float:
    """Return the CPU per request, in microseconds, while another process sends all of them."""
    client = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.parts", str(port))
    began = time.process_time()
    if await client.wait():
        raise RuntimeError("the client failed")
    return (time.process_time() - began) / REQUESTS * 1e6


async def own_http() -> float:
    sockets = bind_sockets(0, "127.0.0.1")
    server = HttpServer(Dispatcher([("/", Hello)]), max_body_size=1_000_000)
    await server.listen(sockets)
    try:
        return await load(sockets[0].getsockname()[1])
    finally:
        await server.stop_listening()
        await server.close(1.0)


async def tornado_http() -> float:
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(tornado.web.Application([("/", Hello)]))
    server.add_sockets(sockets)
    try:
        return await load(sockets[0].getsockname()[1])
    finally:
        server.stop()
        await server.close_all_connections()


async def nothing() -> None:
    """A handler that ends without a wait."""


async def own_tasks() -> float:
    tasks = Tasks()
    began = time.process_time()
    for _ in range(TASKS // 100):
        for _ in range(100):
            tasks.start(nothing())
        await asyncio.sleep(0)
    return (time.process_time() - began) / TASKS * 1e6


async def plain_tasks() -> float:
    loop = asyncio.get_running_loop()
    began = time.process_time()
    for _ in range(TASKS // 100):
        started = [loop.create_task(nothing()) for _ in range(100)]
        await asyncio.gather(*started)
    return (time.process_time() - began) / TASKS * 1e6


PAIRS: dict[str, tuple[Measure, Measure]] = {
    "GET of the smallest page: our HTTP server, Tornado's": (own_http, tornado_http),
    "a handler that does not wait: our task, asyncio's": (own_tasks, plain_tasks),
}


def main() -> None:
    import uvloop

    if len(sys.argv) > 1:
        uvloop.run(ask(int(sys.argv[1])))
        return
    for title, pair in PAIRS.items():
        rounds = [[uvloop.run(measure()) for measure in pair] for _ in range(ROUNDS)]
        own, other = (statistics.median(figures) for figures in zip(*rounds, strict=True))
        print(f"{title}: {own:.2f} µs, {other:.2f} µs")


if __name__ == "__main__":
    main()
