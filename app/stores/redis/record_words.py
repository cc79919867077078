"""A record as the scripts that add one take it."""

from __future__ import annotations

import math

import msgspec

from app.stores.record import Record, public_id
from app.stores.redis.connection import Word

# Seconds for which Redis keeps an expired record. A process removes it long before, and announces
# its end; this only cleans up after processes that never come back. It is long, since the clock of
# the Redis machine may be set to another day for a moment.
_EXTRA_LIFETIME = 30 * 86_400.0


def ttl(seen: float, expires: float) -> str:
    """Return after how many milliseconds Redis removes a record by itself; '' for never.

    It is a span, so the clocks of this process and of the Redis need not agree.
    """
    if math.isinf(expires):
        return ""
    return str(int((max(expires - seen, 0.0) + _EXTRA_LIFETIME) * 1000))


def words_of(record: Record) -> list[Word]:
    """Return what `lua/add.lua` takes of a record."""
    made = msgspec.msgpack.encode((record.created, record.remote_address, record.user_agent))
    return [
        *(record.id, ttl(record.seen, record.expires)),
        *(record.version, record.data, repr(record.seen), repr(record.expires), made),
        *_user_words(record),
    ]


def _user_words(record: Record) -> list[str]:
    """Return the words about the user: account id, public id, name and authentication."""
    if record.user_id is None:
        return []
    name, authentication = record.user_name or "", record.authentication or ""
    return [record.user_id, public_id(record.id), name, authentication]
