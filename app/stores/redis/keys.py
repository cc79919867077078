"""Keys and channels in Redis. docs/redis.md describes all of them; the scripts in lua/ use them.

The scripts find keys of other sessions by themselves, which a single Redis allows and a Redis
Cluster does not.
"""

from __future__ import annotations

PREFIX = "latchkey:"
REPLACED = "latchkey:replaced"  # channel of notes, and with ":" and an id the key of one
GONE_CHANNEL = "latchkey:gone"  # ids of sessions whose record was removed


def record_key(session_id: str) -> bytes:
    """Return the key of a session's record; its other keys begin with it."""
    return b"latchkey:{%b}" % session_id.encode()


def turn_channel(process: str) -> str:
    """Return the channel that tells a process which of its edits has the next turn."""
    return f"latchkey:turn:{process}"


def wanted_channel(process: str) -> str:
    """Return the channel that tells a process which of its locks another process waits for."""
    return f"latchkey:wanted:{process}"
