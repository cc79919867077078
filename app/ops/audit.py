"""The audit log: sign-ins, their failures, ends of sessions, changes of accounts (ASVS 5.0, 16.3).

Each line is an event and `name=value` pairs, to the logger `latchkey.audit`. Strings from users
are written as ASCII literals of Python, so that no name can end a line or forge a pair. No line
holds a password, a cookie or a session's id. Events of accounts are stored, too: see
`app.accounts.audit_trail`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from app.accounts import AuditEvent
from app.common.rate_limited_log import RateLimitedLog
from app.sessions.authentication import of_record
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.stores import Record

log = logging.getLogger("latchkey.audit")

_MAX_LENGTH = 100  # characters of one value


class Actor(Protocol):
    """Who does something with the account of somebody else: an operator or an administrator."""

    @property
    def id(self) -> str:
        """Return the id of their account; empty if they have none."""
        ...

    @property
    def name(self) -> str:
        """Return their name."""
        ...


class Audit:
    """Writes the audit log of one application."""

    def __init__(self) -> None:
        # clients can cause any number of refusals
        self._refusals = RateLimitedLog(log)
        #: Called with each event of an account.
        self.on_event: list[Callable[[AuditEvent], None]] = []

    def add(
        self,
        event: str,
        *,
        user: str | None,
        address: str,
        reason: str = "",
        user_id: str | None = None,
        method: str = "",
        actor: Actor | None = None,
    ) -> None:
        """Log one event; `user` is the name, and None if no account has it.

        Leave out a name that no account has: the user may have typed a password there.
        `method` is the way of signing in. `actor` is who did it, if it was not the user.
        """
        log.info("%s %s", event, _pairs(user, address, reason, user_id, method, actor))
        if user is None or user_id is None:
            return
        stored = AuditEvent(
            time=time.time(),
            event=event,
            account_id=user_id,
            user=user,
            actor=actor.name if actor else "",
            actor_id=actor.id if actor else "",
            address=address,
            method=method,
            reason=reason[:_MAX_LENGTH],
        )
        for listener in self.on_event:
            listener(stored)

    def refused(self, event: str, *, address: str, reason: str) -> None:
        """Log a request that was refused without a check; at most a few lines a second."""
        self._refusals.add(event, _pairs(None, address, reason, None, "", None))

    def signed_in(self, session: Session[Any], method: str) -> None:
        """Log a sign-in."""
        self.add(
            "sign-in",
            user=session.user,
            address=session.remote_address,
            user_id=session.user_id,
            method=method,
            actor=session.actor,
        )

    def proven_again(self, session: Session[Any], method: str) -> None:
        """Log that the user of a session has proven once more who they are."""
        self.add(
            "reauthentication",
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
                actor=of_record(record).actor,
            )


def _pairs(
    user: str | None,
    address: str,
    reason: str,
    user_id: str | None,
    method: str,
    actor: Actor | None,
) -> str:
    values = {
        "user": user,
        "address": address or None,
        "reason": reason or None,
        "user_id": user_id,
        "method": method or None,
        "actor": actor.name if actor else None,
        "actor_id": actor.id or None if actor else None,
    }
    return " ".join(
        f"{name}={value[:_MAX_LENGTH]!a}" for name, value in values.items() if value is not None
    )
