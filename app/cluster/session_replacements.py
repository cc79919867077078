"""New ids of sessions, told by the process that has given them."""

from __future__ import annotations

from typing import Any

from app.sessions.manager import Sessions
from app.stores.redis.keys import REPLACED
from app.stores.redis.subscriptions import Subscriber


class SessionReplacements:
    """Lets the connections of this process follow sessions to which another one gave a new id.

    Redis publishes the note in the step that replaces the record. If a message is lost, because
    Redis was away, the first request or event that finds the record missing reads the note.
    """

    def __init__(self, sessions: Sessions[Any]) -> None:
        self._sessions = sessions

    def subscriber(self) -> Subscriber:
        """Return the Redis channel and the function that takes its messages."""
        return Subscriber(channels={REPLACED: self._receive})

    def _receive(self, note: bytes) -> None:
        self._sessions.replacements.receive(note)
