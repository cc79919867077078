"""Counts of what this process did, kept by the parts that did it."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import Any

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


class Counters:
    """Plain counters, cheap enough for every event; `Metrics` shows them to Prometheus."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()  # by status
        self.handshakes: Counter[str] = Counter()  # by result
        self.events: dict[tuple[str, ...], Histogram] = {}  # by namespace and event
        self.event_errors: Counter[str] = Counter()  # by kind
        self.session_ends: Counter[str] = Counter()  # by reason
        self.mails: Counter[str] = Counter()  # by result
        self.limits: Counter[str] = Counter()  # by the setting's name
        #: By method and result: accepted, wrong (what proves the user), refused (the account).
        self.sign_in_results: Counter[tuple[str, str]] = Counter(
            dict.fromkeys((("password", result) for result in ("accepted", "wrong", "refused")), 0)
        )

    def request(self, status: int) -> None:
        """Count an answered request."""
        self.requests[str(status)] += 1

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
