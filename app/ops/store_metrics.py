"""The metrics of what the process depends on: session store, Redis link, database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import Metric

from app.common.histogram import Histogram
from app.ops.metric_families import counter, gauge, histogram, number, total
from app.ops.survey import Survey
from app.stores.counted import StoreCounts


class Expiry(Protocol):
    """The periodic callback that ends sessions."""

    @property
    def paused(self) -> bool: ...
    @property
    def lag(self) -> float: ...


class RedisLink(Protocol):
    """The connection to Redis."""

    connects: int
    connect_errors: int
    round_trips: Histogram

    @property
    def connected(self) -> bool: ...


class Pool(Protocol):
    """Threads that ask the database."""

    name: str
    threads: int
    seconds: Histogram

    @property
    def errors(self) -> Mapping[str, int]: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...


class StoreMetrics:
    """Metrics of the session store; each method is a part of `Metrics`."""

    def __init__(self, counts: StoreCounts, expiry: Expiry, survey: Survey, *, kind: str) -> None:
        """`kind` is the store's name, such as "sqlite"."""
        self._counts = counts
        self._expiry = expiry
        self._survey = survey
        self._kind = kind

    def of_calls(self) -> Iterator[Metric]:
        """Yield the calls of the store, their durations and failures."""
        counts = self._counts
        yield histogram(
            "edit_lock_seconds", "Time that edits waited for their session.", {(): counts.locks}
        )
        timed = {**counts.others, "save": counts.saves, "lock": counts.locks}
        calls = {call: sum(durations.buckets()) for call, durations in timed.items()}
        calls["load"] = counts.loads
        yield counter("store_calls", "Calls of the session store.", calls, "call")
        yield counter("store_errors", "Calls of the store that failed.", counts.errors, "call")
        yield histogram(
            "store_seconds",
            "Time that calls of the session store took; those of load are not measured.",
            {(call,): durations for call, durations in timed.items()},
            "call",
        )

    def of_sessions(self) -> Iterator[Metric]:
        """Yield whether the store works, what it holds, and whether expired sessions end."""
        yield from _up(
            "store_up", "Whether the session store can be written.", self._survey, "store"
        )
        stored = self._survey.sessions
        yield gauge(
            "stored_sessions",
            "Sessions in the store, of all processes that use it; counted once a minute.",
            {} if stored is None else {self._kind: stored},
            "store",
        )
        yield number(
            "expiry_paused",
            "Whether no session is ended, because the store does not answer.",
            self._expiry.paused,
        )
        yield number(
            "expiry_lag_seconds",
            "Time since the store was last without expired sessions.",
            self._expiry.lag,
        )


class RedisMetrics:
    """Metrics of the connection to Redis; `of_link` is a part of `Metrics`."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def of_link(self) -> Iterator[Metric]:
        """Yield whether Redis is connected, how often it was lost, and how fast it answers."""
        link = self._link
        yield number("redis_up", "Whether Redis is connected.", link.connected)
        yield total(
            "redis_reconnects",
            "Connections to Redis that were made after the first one.",
            max(0, link.connects - 1),
        )
        yield total(
            "redis_connect_errors", "Attempts to connect to Redis that failed.", link.connect_errors
        )
        yield histogram(
            "redis_round_trip_seconds",
            "Time from the write of a batch of commands to its last reply.",
            {(): link.round_trips},
        )


class DatabaseMetrics:
    """Metrics of the database of accounts; `of_pools` is a part of `Metrics`."""

    def __init__(self, pools: Sequence[Pool], survey: Survey) -> None:
        self._pools = pools
        self._survey = survey

    def of_pools(self) -> Iterator[Metric]:
        """Yield whether the database works, and what its threads do."""
        pools, survey = self._pools, self._survey
        yield from _up("database_up", "Whether the database can be written.", survey, "database")
        threads = {pool.name: pool.threads for pool in pools}
        running = {pool.name: pool.running for pool in pools}
        waiting = {pool.name: pool.waiting for pool in pools}
        yield gauge("database_threads", "Threads that ask the database.", threads, "pool")
        yield gauge("database_calls_running", "Calls that have a thread.", running, "pool")
        yield gauge("database_calls_waiting", "Calls that wait for a thread.", waiting, "pool")
        yield histogram(
            "database_seconds",
            "Time that calls of the database took, with the wait for a thread.",
            {(pool.name,): pool.seconds for pool in pools},
            "pool",
        )
        errors = {
            (pool.name, error): count for pool in pools for error, count in pool.errors.items()
        }
        yield counter(
            "database_errors", "Calls of the database that failed.", errors, "pool", "error"
        )


def _up(name: str, meaning: str, survey: Survey, check: str) -> Iterator[Metric]:
    """Yield a gauge of a check that was made, else nothing."""
    passed = survey.passed.get(check)
    if passed is not None:
        yield number(name, meaning, passed)
