"""Rows about many connections: their memory, and their CPU while idle and at disconnect."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.clients import HttpClient, LoadError, SocketClient
from bench.contestants import Servers
from bench.load import Crowd, open_sockets
from bench.measures import Figures, Measure, Sizes, until_idle
from bench.process import Server


@contextmanager
def memory(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Measure a new server each time: free memory of a used server would hide new allocations."""

    def measure() -> Figures:
        with servers.fresh(name) as server, Crowd[SocketClient]() as crowd:
            crowd.remove(open_sockets(crowd, server.port, 100))
            server.collect_garbage()
            before = server.resident()
            open_sockets(crowd, server.port, sizes.idle_memory)
            crowd.rest(sizes.settle)
            server.collect_garbage()
            return {"kb": (server.resident() - before) / sizes.idle_memory / 1000}

    yield measure


@contextmanager
def disconnects(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Disconnect the same number of clients among few others and among many, without heartbeats."""
    with ExitStack() as stack:
        fields = []
        for staying in (sizes.few, sizes.many):
            server = stack.enter_context(servers.fresh(name, "--ping-interval=600"))
            crowd = stack.enter_context(Crowd[SocketClient]())
            open_sockets(crowd, server.port, staying)
            fields.append((server, crowd))

        def measure() -> Figures:
            few, many = (_leave(server, crowd, sizes.leaving) for server, crowd in fields)
            return {"growth": many / few, "few_us": few, "many_us": many}

        yield measure


def _leave(server: Server, crowd: Crowd[SocketClient], how_many: int) -> float:
    """Return the microseconds of CPU per client that closes its connection."""
    leaving = open_sockets(crowd, server.port, how_many)
    crowd.rest(0.2)
    before = server.cpu()
    crowd.remove(leaving)
    until_idle(server)
    return (server.cpu() - before) / how_many * 1e6


@contextmanager
def idle(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Measure heartbeats and the expiry callback alone, over whole heartbeat intervals."""
    beat = f"--ping-interval={sizes.idle_seconds}"
    with servers.fresh(name, beat) as server, Crowd[SocketClient]() as crowd:
        open_sockets(crowd, server.port, sizes.idle)
        crowd.rest(sizes.settle)

        def measure() -> Figures:
            before, start = server.cpu(), time.perf_counter()
            crowd.rest(sizes.idle_seconds)
            busy = (server.cpu() - before) / (time.perf_counter() - start)
            if crowd.closed():
                raise LoadError(f"{crowd.closed()} of {sizes.idle} idle connections were closed.")
            return {"core_percent": busy * 100}

        yield measure


@contextmanager
def hold(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Keep the connections for one heartbeat, then end every session by its own `POST /logout`."""

    def measure() -> Figures:
        beat = f"--ping-interval={sizes.idle_seconds}"
        with servers.fresh(name, beat) as server, Crowd[SocketClient]() as crowd:
            held = open_sockets(crowd, server.port, sizes.held)
            crowd.rest(sizes.idle_seconds + 2)
            memory = server.resident()
            lost = crowd.closed()
            unanswered = sum(client.heartbeats == 0 for client in held)
            before, start = server.cpu(), time.perf_counter()
            _log_out(server.port, crowd, held)
            crowd.rest(2)
            cpu, seconds = server.cpu() - before, time.perf_counter() - start - 2
            return {
                "errors": lost + unanswered + sizes.held - crowd.closed(),
                "closed": crowd.closed(),
                "cpu_us": cpu / sizes.held * 1e6,
                "seconds": seconds,
                "mb": memory / 1e6,
            }

    yield measure


def _log_out(port: int, crowd: Crowd[SocketClient], held: Sequence[SocketClient]) -> None:
    with Crowd[HttpClient]() as pages:
        for _ in range(50):
            pages.add(HttpClient(port))
        for start in range(0, len(held), 50):
            leaving = held[start : start + 50]
            for page, client in zip(pages.clients, leaving, strict=False):
                page.ask(b"/logout", client.cookie)
            pages.remove(pages.clients[len(leaving) :])
            pages.repeat(0)
            crowd.ready(0)
