"""Presence: which users have sockets, in which namespaces, and who is told when they come and go.

It knows neither sessions nor Socket.IO. Imports stores and common.
"""

from app.presence.presence import Presence
from app.presence.users import Change, Users, UserSockets

__all__ = ["Change", "Presence", "UserSockets", "Users"]
