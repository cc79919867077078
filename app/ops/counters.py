"""Counts of what this process did, kept by the parts that did it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, get_args

from app.common.histogram import Histogram
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.stores import Record

_HANDSHAKE_RESULTS = MappingProxyType(
    {
        101: "accepted",
        200: "accepted",
        400: "invalid",
        401: "unauthorized",
        403: "forbidden",
        429: "limited",
        503: "unavailable",
    }
)
# Statuses that the program or Tornado answers with.
_STATUSES = (
    *("101", "200", "204", "206", "301", "302", "303", "304", "307", "308"),
    *("400", "401", "403", "404", "405", "409", "411", "413", "415", "416", "421", "422", "429"),
    *("431", "499", "500", "503"),
)
_EVENT_ERRORS = ("arguments", "database", "ended", "forbidden", "internal", "store", "unknown")
_MAIL_RESULTS = ("sent", "tried again", "refused", "given up", "dropped")
_LIMITS = ("failed_logins_per_minute", "handshakes_per_minute", "max_connections_per_session")
_METHODS = ("password", "password+totp", "password+recovery code", "password+trusted device")
_SIGN_IN_RESULTS = ("accepted", "wrong", "refused")


class Counters:
    """Plain counters, cheap enough for every event; metrics show them to Prometheus.

    Each begins with what is known to come, at zero, so that a rate sees the first one.
    """

    def __init__(self) -> None:
        self.requests = _zeros(_STATUSES)  # by status
        #: By method, route and class of status, such as "2xx". These begin with the first request:
        #: all at zero are 2,400 lines, and 20 ms of the loop for each scrape.
        self.request_seconds: dict[tuple[str, ...], Histogram] = {}
        self.handshakes = _zeros((*_HANDSHAKE_RESULTS.values(), "failed"))  # by result
        self.events: dict[tuple[str, ...], Histogram] = {}  # by namespace and event
        self.event_errors = _zeros(_EVENT_ERRORS)  # by kind
        self.session_ends = _zeros(get_args(EndReason))  # by reason
        self.mails = _zeros(_MAIL_RESULTS)  # by result
        self.limits = _zeros(_LIMITS)  # by the setting's name
        #: By method and result: accepted, wrong (what proves the user), refused (the account).
        self.sign_in_results: Counter[tuple[str, str]] = Counter(
            dict.fromkeys(itertools.product(_METHODS, _SIGN_IN_RESULTS), 0)
        )

    def request(self, status: int, method: str, route: str, seconds: float) -> None:
        """Count an answered request; `method` is one of few, and `route` the pattern of a path."""
        self.requests[str(status)] += 1
        labels = method, route, f"{status // 100}xx"
        durations = self.request_seconds.get(labels)
        if durations is None:
            durations = self.request_seconds[labels] = Histogram()
        durations.observe(seconds)

    def handshake(self, status: int) -> None:
        """Count a handshake by the status of its response."""
        self.handshakes[_HANDSHAKE_RESULTS.get(status, "failed")] += 1

    def event(self, namespace: str, event: str) -> Histogram:
        """Return the durations of one event; ask only for events that have a handler."""
        return self.events.setdefault((namespace, event), Histogram())

    @property
    def handled_events(self) -> int:
        """How many events were handled."""
        return sum(sum(durations.buckets()) for durations in self.events.values())

    @property
    def sign_ins(self) -> int:
        """How many sign-ins were accepted."""
        counts = self.sign_in_results.items()
        return sum(count for (_, result), count in counts if result == "accepted")

    def signed_in(self, session: Session[Any]) -> None:
        """Count a sign-in."""
        self.sign_in_results[session.authentication.method, "accepted"] += 1

    def sign_in_failed(self, method: str) -> None:
        """Count a sign-in with a wrong password or code, or with a name that there is not."""
        self.sign_in_results[method, "wrong"] += 1

    def sign_in_refused(self, method: str) -> None:
        """Count a sign-in to an account that may not sign in."""
        self.sign_in_results[method, "refused"] += 1

    def event_failed(self) -> None:
        """Count an event whose handler failed, or whose ack could not be sent."""
        self.event_errors["internal"] += 1

    async def session_ended(
        self, session_id: str, reason: EndReason, record: Record | None
    ) -> None:
        """Count the end of a session, unless another process ended and counted it."""
        if record is not None:
            self.session_ends[reason] += 1


def _zeros(names: Iterable[str]) -> Counter[str]:
    return Counter(dict.fromkeys(names, 0))
