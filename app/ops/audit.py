"""The audit log: who signed in, who failed to, what ended, and what was changed (OWASP ASVS 16.3).

Each line is an event and `name=value` pairs, to the logger `latchkey.audit`. A text that people
chose is written as Python writes it in ASCII, so that no name can end a line or forge a pair. No
line holds a password, a cookie or a session's id.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from app.common.rate_limited_log import RateLimitedLog

if TYPE_CHECKING:
    from app.sessions.reason import EndReason
    from app.sessions.session import Session
    from app.stores import Record

log = logging.getLogger("latchkey.audit")

_LONGEST = 100  # characters of one value


class Audit:
    """Writes the audit log of one application."""

    def __init__(self) -> None:
        # refusals cost a client nothing, so only so many of their lines are written
        self._refusals = RateLimitedLog(log)

    def add(self, event: str, *, user: str | None, address: str, reason: str = "") -> None:
        """Log one event; `user` is None where the name is nobody's.

        What somebody typed for a name that is nobody's may be his password, and stays out.
        """
        log.info("%s %s", event, _pairs(user, address, reason))

    def refused(self, event: str, *, address: str, reason: str) -> None:
        """Log what was turned away unseen; of these at most a few a second."""
        self._refusals.add(event, _pairs(None, address, reason))

    def signed_in(self, session: Session[Any]) -> None:
        """Log that somebody has signed in."""
        self.add("sign-in", user=session.user, address=session.remote_address)

    async def session_ended(
        self, session_id: str, reason: EndReason, record: Record | None
    ) -> None:
        """Log the end of a user's session."""
        # a visitor's session that ends is no news, and there are very many of them
        if record is not None and record.user is not None:
            self.add("end", user=record.user, address=record.remote_address, reason=reason)


def _pairs(user: str | None, address: str, reason: str) -> str:
    values = {"user": user, "address": address, "reason": reason or None}
    return " ".join(
        f"{name}={value[:_LONGEST]!a}" for name, value in values.items() if value is not None
    )
