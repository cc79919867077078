"""Accounts, sessions and audit events as operators see them, and as JSON has them.

Times are whole seconds since 1970.
"""

from __future__ import annotations

import msgspec

from app.accounts import Account, AuditEvent
from app.devices import Device
from app.sessions.authentication import Authentication
from app.stores import Record


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """An account."""

    id: str
    name: str
    created: int
    disabled: int | None  # when it was disabled
    roles: list[str]
    email: str | None
    has_password: bool

    @classmethod
    def of(cls, account: Account) -> AccountRow:
        """Return the row of an account."""
        return cls(
            id=account.id,
            name=account.name,
            created=int(account.created),
            disabled=None if account.disabled is None else int(account.disabled),
            roles=sorted(account.roles),
            email=account.email,
            has_password=account.has_password,
        )


class SignInRow(msgspec.Struct, frozen=True, kw_only=True):
    """How an account signs in, besides its password."""

    two_step: bool  # whether two-step sign-in is on
    recovery_codes_left: int


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session; its id is the public one, with which nobody can enter it."""

    id: str
    user_id: str | None  # None for a visitor
    user: str | None
    address: str
    browser: str  # such as "Firefox 132", or empty
    system: str
    created: int
    seen: int
    expires: int | None  # None for never
    method: str  # of the sign-in
    actor: str | None  # the administrator who has signed in as this user
    connections: list[str]  # the transport of each

    @classmethod
    def of(cls, record: Record, device: Device, proof: Authentication) -> SessionRow:
        """Return the row of a session, from its record and what its user sees of it."""
        return cls(
            id=device.id,
            user_id=record.user_id,
            user=record.user,
            address=device.address,
            browser=device.browser,
            system=device.system,
            created=device.signed_in,
            seen=device.seen,
            expires=None if record.expires == float("inf") else int(record.expires),
            method=proof.method,
            actor=proof.actor.name if proof.actor else None,
            connections=device.connections,
        )


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the audit trail."""

    time: int
    event: str
    user_id: str
    user: str
    actor: str | None
    actor_id: str | None
    address: str
    method: str
    reason: str

    @classmethod
    def of(cls, event: AuditEvent) -> EventRow:
        """Return the row of a stored event."""
        return cls(
            time=int(event.time),
            event=event.event,
            user_id=event.account_id,
            user=event.user,
            actor=event.actor or None,
            actor_id=event.actor_id or None,
            address=event.address,
            method=event.method,
            reason=event.reason,
        )
