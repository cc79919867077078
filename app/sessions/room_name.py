"""The names of the rooms that all sockets of a session and of a user are in."""

from __future__ import annotations

import functools
import hashlib


@functools.lru_cache(20_000)  # so that all sockets of a session share one string
def session_room(session_id: str) -> str:
    """Return the name of the room of a session, in each namespace.

    Events may show it, since a hash of 256 random bits tells nothing of them. It is not the
    session's public id either, which the user can read.
    """
    return "session " + hashlib.sha256(b"latchkey room " + session_id.encode()).hexdigest()[:32]


def user_room(user_id: str) -> str:
    """Return the name of the room of a user in each namespace, by the account id.

    Ids are no secrets, so the server lets no handler put a client into a room of this form: a
    client that chooses the name of a room must not get into another user's.
    """
    return f"latchkey:user:{user_id}"
