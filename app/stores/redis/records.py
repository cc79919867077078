"""Records as this process last read or wrote them, and how they are read from Redis."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from app.stores.record import Record
from app.stores.redis.link import Link

log = logging.getLogger("latchkey.redis")

MOST = 20_000  # records, of about half a kilobyte each

Row = list[Any]  # the fields in the order of `scripts.FIELDS`


class KnownRecords:
    """What this process knows of records that other processes change and end too.

    A record is known until somebody tells that it is gone, or until the connection is lost,
    without which nobody could tell.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._records: dict[str, Record] = {}
        self.get = self._records.get
        self._made = msgspec.msgpack.Decoder(tuple[float, str, str])
        self.gone = 0  #: how often something has been told to be gone
        link.listen("latchkey:gone", self._hear_gone)
        link.on_down.append(self._forget_all)

    def keep(self, record: Record, gone: int) -> None:
        """Keep a record that was asked for when `gone` ends had been heard of."""
        if gone == self.gone and self._link.up:
            if len(self._records) >= MOST:
                del self._records[next(iter(self._records))]
            self._records[record.id] = record

    def touch(self, session_id: str, seen: float, expires: float) -> None:
        known = self._records.get(session_id)
        if known is not None and known.seen <= seen:
            expires = max(expires, known.expires)
            self._records[session_id] = msgspec.structs.replace(known, seen=seen, expires=expires)

    def drop(self, session_id: str) -> None:
        self._records.pop(session_id, None)

    def _hear_gone(self, channel: bytes, message: bytes) -> None:
        self.gone += 1
        self._records.pop(message.decode(), None)

    def _forget_all(self) -> None:
        self.gone += 1
        self._records.clear()

    # -- rows --

    def read(self, session_id: str, row: Row, named: Record | None = None) -> Record | None:
        """Return the record of a row; None where there is none, or none that can be read.

        One that somebody spoiled by hand must not keep a batch of others from being looked after.
        A row of two has the times of the record that was `named` in the question.
        """
        try:
            if named is not None and len(row) == 2:
                seen, expires = map(float, row)
                return msgspec.structs.replace(named, seen=seen, expires=expires)
            return self._parse(session_id, row)
        except (ValueError, TypeError, AttributeError) as error:
            log.error("a session in the Redis cannot be read and counts as gone: %s", error)
            return None

    def _parse(self, session_id: str, row: Row) -> Record | None:
        version, data, seen, expires, user, made = row
        if version is None:
            return None
        known = self._records.get(session_id)
        if (
            known is not None
            and known.data == data
            and known.version == int(version)
            and known.seen == float(seen)
            and known.expires == float(expires)
        ):
            return known
        if data is None:
            raise ValueError("it has no data")
        created, remote_address, user_agent = self._made.decode(made)
        return Record(
            id=session_id,
            data=data,
            created=created,
            seen=float(seen),
            expires=float(expires),
            user=None if user is None else user.decode(),
            remote_address=remote_address,
            user_agent=user_agent,
            version=int(version),
        )

    def read_pairs(self, found: Sequence[Any]) -> Iterator[Record]:
        """Read ids and rows by turns, without those that cannot be read."""
        for id, row in zip(found[::2], found[1::2], strict=True):
            record = self.read(id.decode(), row)
            if record is not None:
                yield record
