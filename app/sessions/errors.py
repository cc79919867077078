"""The errors of sessions."""

from __future__ import annotations

from app.stores import HidesSessionId


class SessionEnded(HidesSessionId, Exception):
    """The session has ended; nothing was written. `args[0]` is its id."""

    sentence = "the session has ended"

    @property
    def session_id(self) -> str:
        """Its id; empty for the session of the client or page whose code raised this."""
        return self.args[0] if self.args else ""


class InvalidData(ValueError):
    """Session data does not fit its type; the message names the field. Nothing was stored."""
