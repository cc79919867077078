"""How each row is measured: a field prepares one contestant and gives what measures it once."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from bench.clients import HttpClient, LoadError, SocketClient
from bench.contestants import Servers
from bench.load import Crowd, Slice, open_sockets, sources
from bench.process import Server

Figures = dict[str, float]
Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Sizes:
    """How much of everything; `QUICK` shows that all works, `FULL` gives figures to quote."""

    seconds: float  # of load per measurement
    warm: float  # seconds of load before the first; Node's compiler needs two or three
    settle: float  # seconds of rest after many connections were opened
    handshakes: int
    idle_memory: int  # connections
    few: int
    many: int
    leaving: int  # disconnects measured among the few and among the many
    room: int  # sockets of one session
    emits: int
    idle: int  # connections
    idle_seconds: int  # of heartbeat interval, and of measuring
    held: int  # connections


FULL = Sizes(
    seconds=1.0,
    warm=3.0,
    settle=2.0,
    handshakes=1000,
    idle_memory=4000,
    few=1000,
    many=8000,
    leaving=800,
    room=1000,
    emits=20,
    idle=10_000,
    idle_seconds=25,
    held=15_000,
)
QUICK = Sizes(
    seconds=0.25,
    warm=0.4,
    settle=0.3,
    handshakes=200,
    idle_memory=400,
    few=100,
    many=400,
    leaving=100,
    room=200,
    emits=5,
    idle=500,
    idle_seconds=1,
    held=500,
)


Field = Callable[[Servers, str, Sizes], AbstractContextManager[Measure]]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of the ordered values that `percent` of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def loaded(server: Server, work: Callable[[], Slice]) -> Figures:
    """CPU per operation, throughput and latency of one slice of load."""
    before = server.cpu()
    done = work()
    cpu = server.cpu() - before
    latencies = sorted(done.latencies)
    return {
        "cpu_us": cpu / done.ops * 1e6,
        "ops_per_s": done.ops / done.seconds,
        "p50_ms": percentile(latencies, 50) * 1e3,
        "p99_ms": percentile(latencies, 99) * 1e3,
    }


def _warm(measure: Measure, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        measure()


def session_cookies(port: int, how_many: int) -> list[bytes]:
    """Cookies of that many new sessions, each made by a page."""
    with Crowd[HttpClient]() as pages:
        cookies: list[bytes] = []
        for address in sources(how_many, 50):
            for _ in range(min(50, how_many - len(cookies))):
                pages.add(HttpClient(port, address))
            pages.repeat(0)
            cookies += [page.cookie for page in pages.clients]
            pages.remove(pages.clients)
    if not all(cookies):
        raise LoadError("A page that changed a new session set no cookie.")
    return cookies


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
    """New connections each time: Node and uvicorn close those that were idle for 5 s."""
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
def handshakes(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """From connecting to having joined, without a cookie; closing them again is not measured."""
    server = servers.warm(name)
    made = itertools.count()

    def measure() -> Figures:
        # other addresses each time: 600 handshakes a minute from one are what the limits allow
        addresses = sources(sizes.handshakes, 100, next(made) * sizes.handshakes // 100)
        with Crowd[SocketClient]() as crowd:
            before, start = server.cpu(), time.perf_counter()
            open_sockets(crowd, server.port, sizes.handshakes, addresses=addresses)
            seconds = time.perf_counter() - start
            cpu = server.cpu() - before
        return {"cpu_us": cpu / sizes.handshakes * 1e6, "ops_per_s": sizes.handshakes / seconds}

    _warm(measure, sizes.warm)
    yield measure


@contextmanager
def memory(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """A fresh server each time; one that has served has room left that hides what is used."""

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
    """The same number leaves while few and while many others stay; no heartbeat falls into it."""
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
    """Microseconds of CPU per client that closes its connection."""
    leaving = open_sockets(crowd, server.port, how_many)
    crowd.rest(0.2)
    before = server.cpu()
    crowd.remove(leaving)
    _until_quiet(server)
    return (server.cpu() - before) / how_many * 1e6


def _until_quiet(server: Server) -> None:
    """Wait until the server has done its work: a tenth of a second with next to no CPU."""
    deadline = time.monotonic() + 30
    before = -1.0
    while server.cpu() - before > 0.003:
        if time.monotonic() > deadline:
            raise LoadError("A server was still busy 30 s after clients had left.")
        before = server.cpu()
        time.sleep(0.1)


@contextmanager
def room(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Each `POST /incr` of a session emits `current count` to all sockets of that session."""
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

        _warm(measure, sizes.warm)
        yield measure


def _deliver(room: Crowd[SocketClient]) -> None:
    """Wait until every client has one more event than at the last time."""
    wanted = min(client.events for client in room.clients) + 1
    waiting = {client for client in room.clients if client.events < wanted}
    deadline = time.monotonic() + 20
    while waiting:
        waiting.difference_update([c for c, _ in room.ready(1.0) if c.events >= wanted])
        if time.monotonic() > deadline:
            raise LoadError(f"{len(waiting)} sockets of a session did not hear of its change.")


@contextmanager
def idle(servers: Servers, name: str, sizes: Sizes) -> Iterator[Measure]:
    """Heartbeats and the expiry callback only; measured over whole heartbeat intervals."""
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
    """Hold them for a heartbeat each, then end every session by its own `POST /logout`."""

    def measure() -> Figures:
        beat = f"--ping-interval={sizes.idle_seconds}"
        with servers.fresh(name, beat) as server, Crowd[SocketClient]() as crowd:
            held = open_sockets(crowd, server.port, sizes.held)
            crowd.rest(sizes.idle_seconds + 2)
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
