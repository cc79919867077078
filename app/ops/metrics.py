"""The metrics of this process, for Prometheus."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from app.common.histogram import BOUNDS, Histogram
from app.common.log_and_continue import logged
from app.ops.counters import Counters
from app.ops.loop_lag import LoopLag
from app.ops.module_metrics import OwnCollectors, OwnMetrics
from app.stores.counted import StoreCounts

log = logging.getLogger("latchkey.metrics")

_Labels = tuple[str, ...]


class Transport(Protocol):
    """How a client is connected."""

    @property
    def name(self) -> str:
        """Return "polling" or "websocket"."""
        ...


class Connection(Protocol):
    """One Engine.IO connection."""

    @property
    def transport(self) -> Transport:
        """Return its transport of now."""
        ...


class Engine(Protocol):
    """The Engine.IO server and its counts."""

    @property
    def connections(self) -> Mapping[str, Connection]:
        """Return the open connections."""
        ...

    @property
    def closed_by(self) -> Mapping[str, int]:
        """Return how many connections were closed for each reason."""
        ...

    @property
    def throttled(self) -> int:
        """Return how often --events-per-second held a client up."""
        ...


class Connections(Protocol):
    """The connections of this process, by session."""

    @property
    def closing(self) -> Histogram:
        """Return how long it took to close the connections of ended sessions."""
        ...

    def session_ids(self) -> Collection[str]:
        """Return the ids of the sessions that have connections."""
        ...


class Metrics(Collector):
    """Turns the counts of this process into Prometheus' text format when it asks."""

    def __init__(
        self,
        counters: Counters,
        store: StoreCounts,
        loop_lag: LoopLag,
        engine: Engine,
        connections: Connections,
        last_backup: Callable[[], float],
    ) -> None:
        """`last_backup` returns when the latest backup was complete, 0 if there was none."""
        self._counters = counters
        self._store = store
        self._loop_lag = loop_lag
        self._engine = engine
        self._connections = connections
        self._last_backup = last_backup
        self._process = ProcessCollector(registry=None)
        self._own = OwnCollectors(self)

    def add(self, module: str, metrics: OwnMetrics) -> None:
        """Show the metrics of a module too; raises ValueError if they cannot be shown."""
        self._own.add(module, metrics)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        registry.register(self._process)
        registry.register(self._own)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics (prometheus_client calls this)."""
        for part in (
            self._of_connections,
            self._of_work,
            self._of_the_store,
            self._of_the_loop,
            self._of_the_backup,
        ):
            with logged(log, "some metrics could not be read"):
                yield from list(part())

    def _of_the_loop(self) -> Iterator[Metric]:
        yield _histogram(
            "loop_lag_seconds", "How late the event loop was.", {(): self._loop_lag.seconds}
        )

    def _of_the_backup(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "latchkey_backup_last_success_timestamp_seconds",
            "When the latest backup of this data folder was complete; 0 if there was none.",
            value=self._last_backup(),
        )

    def _of_connections(self) -> Iterator[Metric]:
        open_now = Counter({"polling": 0, "websocket": 0})
        open_now.update(
            connection.transport.name for connection in self._engine.connections.values()
        )
        gauge = GaugeMetricFamily(
            "latchkey_connections", "Open connections by transport.", labels=["transport"]
        )
        for transport, number in open_now.items():
            gauge.add_metric([transport], number)
        yield gauge
        yield GaugeMetricFamily(
            "latchkey_connected_sessions",
            "Sessions with connections.",
            value=len(self._connections.session_ids()),
        )
        closed = self._engine.closed_by
        yield _counter("connections_closed", "Closed connections.", "reason", closed)
        yield _counter("handshakes", "Handshakes by result.", "result", self._counters.handshakes)

    def _of_work(self) -> Iterator[Metric]:
        counters = self._counters
        yield _counter("requests", "Answered HTTP requests.", "code", counters.requests)
        yield _histogram(
            "event_seconds",
            "Time that events took, with the wait for their session.",
            counters.events,
            "namespace",
            "event",
        )
        yield _counter("event_errors", "Events that failed.", "error", counters.event_errors)
        sign_ins = CounterMetricFamily(
            "latchkey_sign_ins", "Tries to sign in.", labels=["method", "result"]
        )
        for labels, number in counters.sign_in_results.items():
            sign_ins.add_metric(labels, number)
        yield sign_ins
        yield _counter("session_ends", "Sessions that ended here.", "reason", counters.session_ends)
        yield _histogram(
            "session_end_close_seconds",
            "Time from the end of a session until the last of its connections here was closed.",
            {(): self._connections.closing},
        )
        yield _counter("mails", "Mails to users by result.", "result", counters.mails)
        hit = counters.limits + Counter(events_per_second=self._engine.throttled)
        yield _counter(
            "limits_hit", "Times that a limit refused or delayed a client.", "limit", hit
        )

    def _of_the_store(self) -> Iterator[Metric]:
        store = self._store
        yield _histogram(
            "edit_lock_seconds", "Time that edits waited for their session.", {(): store.locks}
        )
        timed = {**store.others, "save": store.saves, "lock": store.locks}
        calls = {call: sum(histogram.buckets()) for call, histogram in timed.items()}
        calls["load"] = store.loads
        yield _counter("store_calls", "Calls of the session store.", "call", calls)
        yield _counter("store_errors", "Calls of the store that failed.", "call", store.errors)
        yield _histogram(
            "store_seconds",
            "Time that calls of the session store took; those of load are not measured.",
            {(call,): histogram for call, histogram in timed.items()},
            "call",
        )


def _counter(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily("latchkey_" + name, meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _histogram(
    name: str, meaning: str, histograms: Mapping[_Labels, Histogram], *labels: str
) -> Metric:
    family = HistogramMetricFamily("latchkey_" + name, meaning, labels=labels)
    bounds = [*map(repr, BOUNDS), "+Inf"]
    for values, histogram in histograms.items():
        buckets = list(zip(bounds, map(float, accumulate(histogram.buckets())), strict=True))
        family.add_metric(values, buckets, histogram.total)
    return family
