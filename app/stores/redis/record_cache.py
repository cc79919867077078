"""A cache of session records, and how records are read from Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.stores.record import Record
from app.stores.redis.keys import GONE_CHANNEL
from app.stores.redis.subscriptions import Subscriber

log = logging.getLogger("latchkey.redis")

MAX_RECORDS = 20_000  # of about half a kilobyte each

#: The fields of a record, in the order that `lua/read.lua` returns them in.
#: `user` is the id of the account, and a record of a release that knew no ids has no `name`.
FIELDS = ("version", "data", "seen", "expires", "user", "made", "name", "authentication")
Row = list[Any]


class RecordCache:
    """Records that this process has read or written, and that no process has removed since.

    A removal is published in the same step, on the connection that replies come on. A lost
    connection clears the cache. What other processes wrote to a record is not published: callers
    that need the latest version ask Redis. Its reply is short if the cached version is the latest.
    """

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self.get = self._records.get
        self._made = msgspec.msgpack.Decoder(tuple[float, str, str])
        #: how often a record was invalidated, or all were
        self.invalidations = 0
        self._connected = False

    def subscriber(self) -> Subscriber:
        """Return what the client has to tell this cache."""
        return Subscriber(
            channels={GONE_CHANNEL: self._on_gone},
            connected=self._on_connected,
            disconnected=self._on_disconnected,
        )

    def put(self, record: Record, invalidations: int) -> None:
        """Add a record that was asked for when `invalidations` had this value.

        It is left out if something was invalidated meanwhile, which may have been this record.
        """
        if invalidations == self.invalidations and self._connected:
            if len(self._records) >= MAX_RECORDS:
                del self._records[next(iter(self._records))]
            self._records[record.id] = record

    def touch(self, session_id: str, seen: float, expires: float) -> None:
        """Set the times of a cached record to later ones."""
        cached = self._records.get(session_id)
        if cached is not None and cached.seen <= seen:
            expires = max(expires, cached.expires)
            self._records[session_id] = msgspec.structs.replace(cached, seen=seen, expires=expires)

    def drop(self, session_id: str) -> None:
        """Remove a record."""
        self._records.pop(session_id, None)

    def _on_gone(self, session_id: bytes) -> None:
        self.invalidations += 1
        self.drop(session_id.decode())

    def _on_connected(self) -> None:
        self._connected = True

    def _on_disconnected(self) -> None:
        self._connected = False
        self.invalidations += 1
        self._records.clear()

    # -- rows --

    def read(self, session_id: str, row: Row, cached: Record | None = None) -> Record | None:
        """Return the record of a row; None if there is no record, or an invalid one.

        So a record that somebody spoiled by hand does not fail a batch of others. A row of two
        fields has `seen` and `expires` of a record that is otherwise as `cached`.
        """
        try:
            if cached is not None and len(row) == 2:
                seen, expires = map(float, row)
                return msgspec.structs.replace(cached, seen=seen, expires=expires)
            return self._parse(session_id, row)
        except (ValueError, TypeError, AttributeError) as error:
            log.error("a session in the Redis is invalid and counts as gone: %s", error)
            return None

    def read_pairs(self, found: Sequence[Any]) -> Iterator[Record]:
        """Read id, row, id, row, …, without the invalid ones."""
        for id, row in zip(found[::2], found[1::2], strict=True):
            record = self.read(id.decode(), row)
            if record is not None:
                yield record

    def _parse(self, session_id: str, row: Row) -> Record | None:
        version, data, seen, expires, user, made, name, authentication = row
        if version is None:
            return None
        cached = self._records.get(session_id)
        if (
            cached is not None
            and cached.data == data
            and cached.version == int(version)
            and cached.seen == float(seen)
            and cached.expires == float(expires)
        ):
            return cached
        if data is None:
            raise ValueError("it has no data")
        created, remote_address, user_agent = self._made.decode(made)
        return Record(
            id=session_id,
            data=data,
            created=created,
            seen=float(seen),
            expires=float(expires),
            user_id=None if user is None else user.decode(),
            remote_address=remote_address,
            user_agent=user_agent,
            version=int(version),
            user_name=None if name is None else name.decode(),
            authentication=None if authentication is None else authentication.decode(),
        )
