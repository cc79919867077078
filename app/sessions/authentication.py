"""How and when the user of a session has proved who they are."""

from __future__ import annotations

import logging

import msgspec

from app.stores import Record

log = logging.getLogger("latchkey.sessions")

_MAX_SKEW = 60.0  # seconds by which the clocks of two machines may differ


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator who uses the site as somebody else."""

    id: str  # of their account
    name: str
    session_id: str  # of their own session, which goes on beside this one


class Authentication(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The latest proof of who the user of a session is.

    Every sign-in and every repeated one (OWASP ASVS 5.0, 7.5) stores a new one with a new id.
    """

    time: float = 0.0  # seconds since 1970; 0 for a visitor
    #: As `services.sign_in` was told: "password", "oidc".
    method: str = ""
    #: Set if an administrator has signed in as this user.
    actor: Actor | None = None

    def is_recent(self, now: float, seconds: float) -> bool:
        """Whether this was at most so many seconds ago.

        A time in the future is not recent: the clock was set back, and would make it recent for
        as long.
        """
        return -_MAX_SKEW <= now - self.time <= seconds


def encode(authentication: Authentication) -> str:
    """Return the form that a record keeps."""
    return msgspec.json.encode(authentication).decode()


def of_record(record: Record) -> Authentication:
    """Return the authentication of a session.

    A release that kept none gave out a new id at each proof, so its time is that of the id.
    """
    if record.user_id is None:
        return Authentication()
    if record.authentication is not None:
        try:
            return msgspec.json.decode(record.authentication, type=Authentication)
        except msgspec.MsgspecError as error:
            log.error("%r has an invalid authentication, so it counts as old: %s", record, error)
            return Authentication()
    return Authentication(time=record.created)
