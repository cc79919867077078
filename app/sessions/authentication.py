"""How and when the user of a session has proved who they are."""

from __future__ import annotations

import logging
import math

import msgspec

from app.stores import Record

log = logging.getLogger("latchkey.sessions")

#: The method of a sign-in that a trusted device has spared the code.
TRUSTED_DEVICE = "password+trusted device"
#: What a script gets as `error`, and the ack of an event, if the user has to prove it again.
REAUTHENTICATE = "reauthenticate"
_MAX_SKEW = 60.0  # seconds by which the clocks of two machines may differ


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator who uses the site as somebody else."""

    id: str  # of their account
    name: str
    session_id: str  # of their own session, which no browser has meanwhile
    until: float  # seconds since 1970 when this ends, however active they are


class Authentication(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The latest proof of who the user of a session is.

    Every sign-in and every repeated one (OWASP ASVS 5.0, 7.5) stores a new one with a new id.
    """

    #: Seconds since 1970; 0 for a visitor, and if an administrator has signed in as this user.
    time: float = 0.0
    #: As `services.sign_in` was told: "password", "oidc".
    method: str = ""
    #: Set if an administrator has signed in as this user.
    actor: Actor | None = None
    #: In the own session of an administrator, the id of the account that they are signed in as.
    acting_as: str = ""

    def is_recent(self, now: float, seconds: float) -> bool:
        """Whether this was at most so many seconds ago.

        A time in the future is not recent: the clock was set back, and would make it recent for
        as long. Neither is a sign-in on a trusted device, whose cookie may be copied.
        """
        if self.method == TRUSTED_DEVICE:
            return False
        return -_MAX_SKEW <= now - self.time <= seconds


def encode(authentication: Authentication) -> str:
    """Return the form that a record keeps."""
    return msgspec.json.encode(authentication).decode()


def actor_of(authentication: str | None) -> Actor | None:
    """Return the administrator in an encoded authentication; None if there is none."""
    # a name cannot forge the key: its quotes are escaped
    if authentication is None or '"actor":{' not in authentication:
        return None
    return msgspec.json.decode(authentication, type=Authentication).actor


def ends_by(authentication: str | None) -> float:
    """Return when a session with this encoded authentication ends; infinity: at no set time."""
    actor = actor_of(authentication)
    return math.inf if actor is None else actor.until


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
