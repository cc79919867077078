"""The rows of the table: the contestants that each compares, and its targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import connections, processes, work
from bench.measures import Field


@dataclass(frozen=True)
class Target:
    """The limit of a figure: `who` needs at most `at_most` times what `against` needs.

    Without `against` the limit is in the unit of the row.
    """

    who: str
    against: str | None
    at_most: float


@dataclass(frozen=True)
class Row:
    """One row of the table: `field` prepares a contestant and yields a function to measure it."""

    key: str
    title: str
    figure: str  # the key of the figure that is compared
    unit: str
    contestants: Sequence[str]
    field: Field
    targets: Sequence[Target]
    together: bool = True  # rounds interleave the contestants; else one contestant after another
    fresh: bool = False  # each round starts and fills servers, so `--quick` makes one round
    once: bool = False  # one round is enough


LATCHKEYS = ("latchkey", "latchkey-sqlite")
RIVALS = ("node", "bun", "stock", "uvicorn")
SITES = ("redis-1", "redis-2", "redis-4", "redis-4-apart")
GROWTH = (
    Target("redis-2", "redis-1", 1.2),
    Target("redis-4", "redis-1", 1.2),
    Target("redis-4", "redis-4-apart", 1.2),
)
DEFAULTS = Target("latchkey-limits", "latchkey", 1.05)

ROWS = (
    Row(
        "incr",
        "acknowledged `incr`",
        "cpu_us",
        "µs",
        (*LATCHKEYS, *RIVALS),
        work.increments(50),
        (
            Target("latchkey", "node", 0.9),
            Target("latchkey-sqlite", "node", 1.35),
            Target("latchkey", "stock", 0.2),
            Target("latchkey-sqlite", "stock", 0.2),
        ),
    ),
    Row(
        "incr-redis",
        "acknowledged `incr`, Redis",
        "cpu_us",
        "µs",
        ("latchkey-redis", "node-redis", "bun-redis"),
        work.increments(50),
        (Target("latchkey-redis", "node-redis", 0.9),),
    ),
    Row(
        # 400 clients, so that none of them comes near its 200 events a second
        "incr-limits",
        "acknowledged `incr`, 400 clients, limits at their defaults",
        "cpu_us",
        "µs",
        ("latchkey", "latchkey-limits"),
        work.increments(400),
        (DEFAULTS,),
    ),
    Row(
        "post",
        "`POST /incr` with its session",
        "cpu_us",
        "µs",
        (*LATCHKEYS, "latchkey-limits", *RIVALS),
        work.posts,
        (Target("latchkey", "node", 0.6), DEFAULTS),
    ),
    Row(
        "sign-in",
        "`POST /login` with a password",
        "cpu_us",
        "µs",
        ("latchkey-sqlite", "redis-1"),
        work.sign_ins,
        (),
    ),
    Row(
        "handshake",
        "WebSocket handshake that creates and stores a session",
        "cpu_us",
        "µs",
        (*LATCHKEYS, "latchkey-limits", "node", "bun"),
        work.handshakes,
        (Target("latchkey", "node", 0.95), DEFAULTS),
    ),
    Row(
        "room",
        "emit to a session's sockets, per delivery",
        "cpu_us",
        "µs",
        ("latchkey", *RIVALS),
        work.room,
        (Target("latchkey", "node", 0.85),),
    ),
    Row(
        "memory",
        "memory per idle connection",
        "kb",
        "kB",
        (*LATCHKEYS, "latchkey-limits", *RIVALS),
        connections.memory,
        (Target("latchkey", "node", 0.3), DEFAULTS),
        fresh=True,
    ),
    Row(
        "disconnect",
        "CPU per disconnect, many against few others connected",
        "growth",
        "×",
        ("latchkey", *RIVALS),
        connections.disconnects,
        (Target("latchkey", None, 1.2),),
        together=False,
        fresh=True,
    ),
    Row(
        "idle",
        "idle connections, share of a core",
        "core_percent",
        "%",
        (*LATCHKEYS, "node", "bun"),
        connections.idle,
        (Target("latchkey", None, 2), Target("latchkey-sqlite", None, 2)),
        together=False,
        fresh=True,
    ),
    Row(
        "scale",
        "acknowledged `incr`, 50 clients at each process",
        "cpu_us",
        "µs",
        SITES,
        processes.scale(50, each=True),
        GROWTH,
    ),
    Row(
        "scale-total",
        "acknowledged `incr`, 200 clients in all",
        "cpu_us",
        "µs",
        SITES,
        processes.scale(200, each=False),
        GROWTH,
    ),
    Row(
        "far-logout",
        "logout of a session with 1,000 sockets over two processes: all closed, p99 of 20",
        "all_closed_ms",
        "ms",
        ("latchkey-redis",),
        processes.far_logouts,
        (Target("latchkey-redis", None, 250),),
        once=True,
    ),
    Row(
        "idle-redis",
        "10,000 idle sessions in Redis: expiry and reconcile, share of a core",
        "core_percent",
        "%",
        ("latchkey-redis",),
        processes.idle_sessions,
        (Target("latchkey-redis", None, 2),),
        once=True,
    ),
    Row(
        "hold",
        "held, heartbeats answered, each closed by its session's end: errors",
        "errors",
        "",
        (*LATCHKEYS, "latchkey-redis"),
        connections.hold,
        tuple(Target(name, None, 0) for name in (*LATCHKEYS, "latchkey-redis")),
        together=False,
        once=True,
    ),
)
