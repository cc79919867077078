"""The audit log: sign-ins, their failures, ends of sessions, changes of accounts (ASVS 5.0, 16.3).

Each line is an event and `name=value` pairs, to the logger `latchkey.audit`. Strings from users
are written as ASCII literals of Python, so that no name can end a line or forge a pair. No line
holds a password, a cookie or a session's id.
"""

from __future__ import annotations

import logging
from typing import Any

from app.common.rate_limited_log import RateLimitedLog
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.stores import Record

log = logging.getLogger("latchkey.audit")

_MAX_LENGTH = 100  # characters of one value


class Audit:
    """Writes the audit log of one application."""

    def __init__(self) -> None:
        # clients can cause any number of refusals
        self._refusals = RateLimitedLog(log)

    def add(
        self,
        event: str,
        *,
        user: str | None,
        address: str,
        reason: str = "",
        user_id: str | None = None,
        method: str = "",
    ) -> None:
        """Log one event; `user` is the name, and None if no account has it.

        Leave out a name that no account has: the user may have typed a password there.
        `method` is the way of signing in.
        """
        log.info("%s %s", event, _pairs(user, address, reason, user_id, method))

    def refused(self, event: str, *, address: str, reason: str) -> None:
        """Log a request that was refused without a check; at most a few lines a second."""
        self._refusals.add(event, _pairs(None, address, reason, None, ""))

    def signed_in(self, session: Session[Any], method: str) -> None:
        """Log a sign-in."""
        self.add(
            "sign-in",
            user=session.user,
            address=session.remote_address,
            user_id=session.user_id,
            method=method,
        )

    async def session_ended(
        self, session_id: str, reason: EndReason, record: Record | None
    ) -> None:
        """Log the end of a user's session."""
        # ends of visitors' sessions are not logged: they are too many
        if record is not None and record.user_id is not None:
            self.add(
                "end",
                user=record.user,
                address=record.remote_address,
                reason=reason,
                user_id=record.user_id,
            )


def _pairs(user: str | None, address: str, reason: str, user_id: str | None, method: str) -> str:
    values = {
        "user": user,
        "address": address,
        "reason": reason or None,
        "user_id": user_id,
        "method": method or None,
    }
    return " ".join(
        f"{name}={value[:_MAX_LENGTH]!a}" for name, value in values.items() if value is not None
    )
