"""The rows of the table: what is compared with what, and what must be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import connections, processes, work
from bench.measures import Field


@dataclass(frozen=True)
class Target:
    """`who` may reach at most `at_most` times the figure of `against`, or that figure alone."""

    who: str
    against: str | None
    at_most: float


@dataclass(frozen=True)
class Row:
    """One row: `field` prepares a contestant and gives what measures it once."""

    key: str
    title: str
    figure: str  # the key of the figure that is compared
    unit: str
    contestants: Sequence[str]
    field: Field
    targets: Sequence[Target]
    together: bool = True  # rounds interleave the contestants; else one contestant after another
    fresh: bool = False  # a round starts servers and fills them: `--quick` makes one
    once: bool = False  # one round is enough: it counts errors


LATCHKEYS = ("latchkey", "latchkey-sqlite")
RIVALS = ("node", "stock", "uvicorn")
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
            Target("latchkey", "node", 0.8),
            Target("latchkey-sqlite", "node", 1.25),
            Target("latchkey", "stock", 0.2),
            Target("latchkey-sqlite", "stock", 0.2),
        ),
    ),
    Row(
        "incr-redis",
        "acknowledged `incr`, Redis",
        "cpu_us",
        "µs",
        ("latchkey-redis", "node-redis"),
        work.increments(50),
        (Target("latchkey-redis", "node-redis", 0.7),),
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
        (Target("latchkey", "node", 0.9), DEFAULTS),
    ),
    Row(
        "handshake",
        "WebSocket handshake that creates and stores a session",
        "cpu_us",
        "µs",
        (*LATCHKEYS, "latchkey-limits", "node"),
        work.handshakes,
        (Target("latchkey", "node", 1.0), DEFAULTS),
    ),
    Row(
        "room",
        "emit to a session's sockets, per delivery",
        "cpu_us",
        "µs",
        ("latchkey", *RIVALS),
        work.room,
        (Target("latchkey", "node", 1.0),),
    ),
    Row(
        "memory",
        "memory per idle connection",
        "kb",
        "kB",
        (*LATCHKEYS, "latchkey-limits", *RIVALS),
        connections.memory,
        (Target("latchkey", "node", 1.0), DEFAULTS),
        fresh=True,
    ),
    Row(
        "disconnect",
        "CPU per disconnect, many against few others connected",
        "growth",
        "×",
        ("latchkey", *RIVALS),
        connections.disconnects,
        (Target("latchkey", None, 1.3),),
        together=False,
        fresh=True,
    ),
    Row(
        "idle",
        "idle connections, share of a core",
        "core_percent",
        "%",
        (*LATCHKEYS, "node"),
        connections.idle,
        (Target("latchkey", None, 3), Target("latchkey-sqlite", None, 3)),
        together=False,
        fresh=True,
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
        LATCHKEYS,
        connections.hold,
        (Target("latchkey", None, 0), Target("latchkey-sqlite", None, 0)),
        together=False,
        once=True,
    ),
)
