"""The login session: its data, edits, lifetimes, ends, and the manager of all sessions.

Knows neither Tornado nor Socket.IO. Imports stores and common.
"""

from app.sessions.authentication import Actor, Authentication
from app.sessions.clock import Clock, SteadyClock
from app.sessions.codec import D
from app.sessions.end_reason import EndReason
from app.sessions.errors import InvalidData, SessionEnded
from app.sessions.manager import Sessions
from app.sessions.periodic_expiry import Expiry
from app.sessions.room_name import session_room
from app.sessions.session import Session, SessionFor

__all__ = [
    "Actor",
    "Authentication",
    "Clock",
    "D",
    "EndReason",
    "Expiry",
    "InvalidData",
    "Session",
    "SessionEnded",
    "SessionFor",
    "Sessions",
    "SteadyClock",
    "session_room",
]
