"""Parts of every measurement: sizes, figures, warm-up and sessions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.clients import HttpClient, LoadError
from bench.contestants import Servers
from bench.load import Crowd, Slice, sources
from bench.process import Server

Figures = dict[str, float]
Measure = Callable[[], Figures]


@dataclass(frozen=True)
class Sizes:
    """The amounts of a run; `QUICK` shows that everything works, `FULL` gives figures to quote."""

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
    logouts: int
    reconciled: int  # seconds of idling that are measured with Redis; it reconciles every 30


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
    logouts=20,
    reconciled=60,
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
    logouts=3,
    reconciled=2,
)


Field = Callable[[Servers, str, Sizes], AbstractContextManager[Measure]]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of the ordered values that `percent` of them do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def loaded(server: Server, work: Callable[[], Slice]) -> Figures:
    """Return CPU per operation, throughput and latency of one slice of load."""
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


def until_idle(server: Server) -> None:
    """Wait until the server rests: it uses less than 3 ms of CPU in 0.1 s."""
    deadline = time.monotonic() + 30
    before = -1.0
    while server.cpu() - before > 0.003:
        if time.monotonic() > deadline:
            raise LoadError("A server was still busy 30 s after its clients had left.")
        before = server.cpu()
        time.sleep(0.1)


def warm_up(measure: Measure, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        measure()


def session_cookies(port: int, how_many: int) -> list[bytes]:
    """Return the cookies of that many new sessions, each made by a page."""
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
