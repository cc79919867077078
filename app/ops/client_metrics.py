"""The metrics of what clients do: connections, requests, events, sign-ins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric

from app.common.histogram import Histogram
from app.ops.counters import Counters
from app.ops.metric_families import counter, gauge, histogram, number


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


class ClientMetrics:
    """Metrics of connections and of what clients ask for; each method is a part of `Metrics`."""

    def __init__(self, counters: Counters, engine: Engine, connections: Connections) -> None:
        self._counters = counters
        self._engine = engine
        self._connections = connections

    def of_connections(self) -> Iterator[Metric]:
        """Yield what is connected, and how connections began and ended."""
        open_now = Counter({"polling": 0, "websocket": 0})
        open_now.update(
            connection.transport.name for connection in self._engine.connections.values()
        )
        yield gauge("connections", "Open connections by transport.", open_now, "transport")
        yield number(
            "connected_sessions",
            "Sessions with connections.",
            len(self._connections.session_ids()),
        )
        closed = self._engine.closed_by
        yield counter("connections_closed", "Closed connections.", closed, "reason")
        results = self._counters.handshakes
        yield counter("handshakes", "Handshakes by result.", results, "result")

    def of_requests(self) -> Iterator[Metric]:
        """Yield requests and their durations."""
        counters = self._counters
        yield counter("requests", "Answered HTTP requests.", counters.requests, "code")
        yield histogram(
            "request_seconds",
            "Time from the head of a request to the end of its response; a poll waits for events.",
            counters.request_seconds,
            *("method", "route", "code_class"),
        )

    def of_events(self) -> Iterator[Metric]:
        """Yield events and their durations, and the limits that clients met."""
        counters = self._counters
        yield histogram(
            "event_seconds",
            "Time that events took, with the wait for their session.",
            counters.events,
            *("namespace", "event"),
        )
        yield counter("event_errors", "Events that failed.", counters.event_errors, "error")
        hit = {**counters.limits, "events_per_second": self._engine.throttled}
        yield counter("limits_hit", "Times that a limit refused or delayed a client.", hit, "limit")

    def of_sessions(self) -> Iterator[Metric]:
        """Yield how sessions began and ended."""
        counters = self._counters
        results = counters.sign_in_results
        yield counter("sign_ins", "Tries to sign in.", results, "method", "result")
        ends = counters.session_ends
        yield counter("session_ends", "Sessions that ended here.", ends, "reason")
        yield histogram(
            "session_end_close_seconds",
            "Time from the end of a session until the last of its connections here was closed.",
            {(): self._connections.closing},
        )
