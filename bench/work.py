"""Rows about operations. Each prepares a contestant and yields a function to measure it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.clients import HttpClient, LoadError, SignInClient, SocketClient
from bench.contestants import Servers
from bench.load import Crowd, open_sockets, sources
from bench.measures import (
    Field,
    Figures,
    Measure,
    Sizes,
    loaded,
    session_cookies,
    until_idle,
    warm_up,
)


def increments(clients: int) -> Field:
    @contextmanager
    def field(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
        server = servers.warm(name)
        with Crowd[SocketClient]() as crowd:
            open_sockets(crowd, server.port, clients, session_cookies(server.port, clients))
            crowd.repeat(sizes.warm)
            yield lambda: loaded(server, lambda: crowd.repeat(sizes.seconds))

    return field


@contextmanager
def posts(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Post pages. Connections are new each time: Node and uvicorn close those idle for 5 s."""
    server = servers.warm(name)
    cookies = session_cookies(server.port, 50)

    def measure(seconds: float) -> Figures:
        with Crowd[HttpClient]() as crowd:
            for cookie in cookies:
                crowd.add(HttpClient(server.port, cookie=cookie))
            crowd.repeat(0)
            return loaded(server, lambda: crowd.repeat(seconds))

    measure(sizes.warm)
    yield lambda: measure(sizes.seconds)


@contextmanager
def sign_ins(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Sign in with a password: eight browsers, of which each is a visitor every time."""
    server = servers.warm(name)
    with Crowd[HttpClient]() as crowd:
        crowd.add(SignInClient(server.port, b"/register", b"bench"))
        crowd.repeat(0)
    with Crowd[HttpClient]() as crowd:
        for _ in range(8):
            crowd.add(SignInClient(server.port, b"/login", b"bench"))
        crowd.repeat(sizes.warm)
        yield lambda: loaded(server, lambda: crowd.repeat(sizes.seconds))


@contextmanager
def handshakes(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Open sockets without a cookie: from connecting to having joined, closing not included."""
    server = servers.warm(name)
    made = itertools.count()

    def measure() -> Figures:
        # other addresses each time: the limits allow 600 handshakes a minute from one address
        addresses = sources(sizes.handshakes, 100, next(made) * sizes.handshakes // 100)
        with Crowd[SocketClient]() as crowd:
            before, start = server.cpu(), time.perf_counter()
            open_sockets(crowd, server.port, sizes.handshakes, addresses=addresses)
            seconds = time.perf_counter() - start
            cpu = server.cpu() - before
        until_idle(server)
        return {"cpu_us": cpu / sizes.handshakes * 1e6, "ops_per_s": sizes.handshakes / seconds}

    warm_up(measure, sizes.warm)
    yield measure


@contextmanager
def room(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Emit to a room: each `POST /incr` sends `current count` to all sockets of its session."""
    server = servers.warm(name)
    cookies = session_cookies(server.port, 1)
    with Crowd[SocketClient]() as room:
        open_sockets(room, server.port, sizes.room, cookies)

        def measure() -> Figures:
            with Crowd[HttpClient]() as pages:
                pages.add(HttpClient(server.port, cookie=cookies[0]))
                before, start = server.cpu(), time.perf_counter()
                for _ in range(sizes.emits):
                    pages.repeat(0)
                    _deliver(room)
                seconds = time.perf_counter() - start
                cpu = server.cpu() - before
            deliveries = sizes.emits * sizes.room
            return {"cpu_us": cpu / deliveries * 1e6, "ops_per_s": deliveries / seconds}

        warm_up(measure, sizes.warm)
        yield measure


def _deliver(room: Crowd[SocketClient]) -> None:
    """Wait until every client has one more event than at the last time."""
    wanted = min(client.events for client in room.clients) + 1
    waiting = {client for client in room.clients if client.events < wanted}
    deadline = time.monotonic() + 20
    while waiting:
        received = [client for client, _ in room.ready(1.0)]
        waiting.difference_update([client for client in received if client.events >= wanted])
        if any(client.closed for client in received):
            raise LoadError("A server closed a socket instead of sending it an event.")
        if time.monotonic() > deadline:
            raise LoadError(f"{len(waiting)} sockets of a session did not receive an event.")
