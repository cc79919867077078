"""The times after which sessions end, computed from a record alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.sessions.authentication import ends_by
from app.stores import Record


@dataclass(frozen=True)
class Timeouts:
    """Three limits, in seconds; infinity: none. Points in time are seconds since 1970.

    A *new* session is one whose cookie no client has sent back. Its record is stored with an
    earlier end than others, so that clients which keep no cookies leave little behind.
    """

    idle: float  # without activity
    max_age: float  # since the id was issued, however active its clients are
    new: float  # without activity, for a new session

    @classmethod
    def of(cls, *, idle: float, max_age: float, new: float) -> Timeouts:
        """Take settings, in which 0 stands for no limit."""
        return cls(idle or math.inf, max_age or math.inf, new or math.inf)

    def expires(self, created: float, seen: float, latest: float = math.inf) -> float:
        """Return when a session that is not new ends, created and last seen at these times.

        It ends at `latest` in any case.
        """
        # a handshake asks five times, and `min` would take 5,000 of its 860,000 instructions
        idle, oldest = seen + self.idle, created + self.max_age
        end = idle if idle < oldest else oldest
        return end if end < latest else latest

    def latest(self, record: Record) -> float:
        """Return when this session ends however active it is; infinity: never."""
        oldest = record.created + self.max_age
        if record.authentication is None:  # a visitor's; 0.3 µs less for each event
            return oldest
        return min(oldest, ends_by(record.authentication))

    def first_expires(self, now: float) -> float:
        """Return when a session that is created now ends unless its cookie comes back."""
        return min(now + self.new, self.expires(now, now))

    def is_new(self, record: Record) -> bool:
        """Whether no client has sent this session's cookie back, as far as the record tells."""
        return record.user_id is None and record.expires < self.expires(record.created, record.seen)

    def expires_if_seen(self, record: Record, seen: float, *, cookie_returned: bool) -> float:
        """Return when this session ends if it was last seen then.

        `cookie_returned`: a client has sent its cookie back since the record was written.
        """
        full = self.expires(record.created, seen, ends_by(record.authentication))
        if self.is_new(record) and not cookie_returned:
            return min(max(record.expires, seen + self.new), full)
        # the record may come from a shorter idle timeout; without activity its earlier end stays
        return full if seen > record.seen else min(record.expires, full)
