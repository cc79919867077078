"""Rows about Redis and several processes: a logout everywhere, and idle sessions."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.clients import HttpClient, LoadError, SocketClient
from bench.contestants import Servers
from bench.load import Crowd, open_sockets
from bench.measures import Field, Figures, Measure, Sizes, percentile, session_cookies
from bench.process import Server

# commands that the scripts of this store run inside of Redis while idle
WITHIN_SCRIPTS = frozenset({"hmget", "zrangebyscore", "hset", "zadd", "pexpire"})
RECIPE_EVERY = 30  # seconds between two reads of each socket's session, in a recipe


@contextmanager
def far_logouts(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Log out, at one of two processes, a session that has half of its sockets at each."""
    with servers.fresh(name) as here, servers.fresh(name) as there:

        def logout() -> float:
            (cookie,) = session_cookies(here.port, 1)
            with Crowd[SocketClient]() as crowd, Crowd[HttpClient]() as pages:
                for server in (here, there):
                    open_sockets(crowd, server.port, sizes.room // 2, [cookie])
                page = pages.add(HttpClient(here.port))
                page.ask(b"/logout", cookie)
                crowd.rest(0.1)
                start = time.perf_counter()
                page.send(page.request)
                crowd.until(lambda: crowd.closed() == len(crowd.clients), "sockets to be closed")
                return time.perf_counter() - start

        def measure() -> Figures:
            taken = sorted(logout() for _ in range(sizes.logouts))
            return {
                "all_closed_ms": percentile(taken, 99) * 1e3,
                "p50_ms": percentile(taken, 50) * 1e3,
            }

        yield measure


def scale(clients: int, *, each: bool) -> Field:
    """Measure increments at processes over one Redis, with `clients` at each or in all."""

    @contextmanager
    def field(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
        with (
            servers.site(name, "--ping-interval=600") as (processes, redises),
            Crowd[SocketClient]() as crowd,
        ):
            share = clients if each else clients // len(processes)
            for process in processes:
                cookies = session_cookies(process.port, share)
                open_sockets(crowd, process.port, share, cookies)
            crowd.repeat(sizes.warm)

            def measure() -> Figures:
                before, redis_before = _cpu(processes), _cpu(redises)
                done = crowd.repeat(sizes.seconds)
                cpu = _cpu(processes) - before
                return {
                    "cpu_us": cpu / done.ops * 1e6,
                    "redis_us": (_cpu(redises) - redis_before) / done.ops * 1e6,
                    "ops_per_s": done.ops / done.seconds,
                    "p99_ms": percentile(sorted(done.latencies), 99) * 1e3,
                }

            yield measure

    return field


def _cpu(servers: Sequence[Server]) -> float:
    return sum(each.cpu() for each in servers)


@contextmanager
def idle_sessions(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Measure idle sessions with a socket each, without heartbeats: expiry and reconciliation."""
    with servers.fresh(name, "--ping-interval=600") as server, Crowd[SocketClient]() as crowd:
        open_sockets(crowd, server.port, sizes.idle)
        crowd.rest(sizes.settle)

        def measure() -> Figures:
            commands = _commands(servers.redis_port())
            before, start = server.cpu(), time.perf_counter()
            crowd.rest(sizes.reconciled)
            seconds = time.perf_counter() - start
            busy = (server.cpu() - before) / seconds
            made = {
                command: calls - commands.get(command, 0)
                for command, calls in _commands(servers.redis_port()).items()
            }
            if crowd.closed():
                raise LoadError(f"{crowd.closed()} of {sizes.idle} idle connections were closed.")
            sent = sum(calls for name, calls in made.items() if name not in WITHIN_SCRIPTS)
            return {
                "core_percent": busy * 100,
                "commands_per_s": (sent - 1) / seconds,  # without our own INFO
                "records_per_s": made.get("hmget", 0) / seconds,
                "recipe_per_s": sizes.idle / RECIPE_EVERY,
            }

        yield measure


def _commands(port: int) -> dict[str, int]:
    """Return how often this Redis has run each command."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"INFO commandstats\r\n")
        reader = connection.makefile("rb")
        length = int(reader.readline()[1:])
        lines = reader.read(length).decode().splitlines()
    counts = {}
    for line in lines:
        name, _, figures = line.partition(":calls=")
        if figures:
            counts[name.removeprefix("cmdstat_")] = int(figures.partition(",")[0])
    return counts
