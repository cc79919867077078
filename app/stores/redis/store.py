"""Sessions in Redis or Valkey, for several processes and machines.

What is acknowledged is stored in the Redis; whether that survives a power cut or a failover is
its own setting (`docs/redis.md`).
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from app.common.background import cancel_all
from app.stores.errors import StoreUnavailable
from app.stores.protocol import MAX_LISTED
from app.stores.record import Record, public_id
from app.stores.redis import scripts
from app.stores.redis.link import Link
from app.stores.redis.locks import RedisLease, RedisLocks
from app.stores.redis.records import KnownRecords
from app.stores.redis.wire import Word, pack

# Seconds for which Redis keeps an expired record. A process removes it long before, and announces
# its end; this only cleans up after processes that never come back. It is long, since the clock of
# the Redis machine may be set to another day for a moment.
_SLACK = 30 * 86_400.0
_AT_ONCE = 500
_PING_KEPT = 60_000  # milliseconds


def _left(seen: float, expires: float) -> str:
    """Milliseconds after which Redis forgets by itself; empty: never.

    It is a span, so the clocks of this process and of the Redis need not agree.
    """
    if math.isinf(expires):
        return ""
    return str(int((max(expires - seen, 0.0) + _SLACK) * 1000))


class RedisStore:
    """A SessionStore in a Redis that other processes use too.

    `cached` is what this process has read or written and nobody has told to be gone.
    """

    shared = True

    def __init__(self, link: Link) -> None:
        self._link = link
        self._mark = secrets.token_hex(8)  # of this process, for its own key of `ping`
        self._known = KnownRecords(link)
        self._locks = RedisLocks(link, self._known)
        self._indexing: dict[str, asyncio.Task[None]] = {}
        self.cached = self._known.get
        self.try_lock = self._locks.try_lock
        self._load = tuple(field.encode() for field in scripts.FIELDS)

    async def load(self, session_id: str) -> Record | None:
        gone = self._known.gone
        row = await self._link.run(pack((b"HMGET", scripts.key(session_id), *self._load)))
        record = self._known.read(session_id, row)
        if record is not None:
            self._known.keep(record, gone)
        return record

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), _AT_ONCE):
            ids = session_ids[start : start + _AT_ONCE]
            rows = await self._run(scripts.LOAD_MANY, *ids)
            for session_id, row in zip(ids, rows, strict=True):
                record = self._known.read(session_id, row)
                if record is None:
                    self._known.drop(session_id)
                else:
                    found[session_id] = record
        return found

    async def save(self, record: Record) -> None:
        made = (record.created, record.remote_address, record.user_agent)
        words = (
            *(record.id, _left(record.seen, record.expires)),
            *(record.version, record.data, repr(record.seen), repr(record.expires)),
            msgspec.msgpack.encode(made),
            *(() if record.user is None else (record.user, public_id(record.id))),
        )
        gone = self._known.gone
        await self._run_on(scripts.ADD, record.id, *words)
        self._known.keep(record, gone)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        words: list[str] = []
        for session_id, (last, expires) in seen.items():
            words += (session_id, repr(last), repr(expires), _left(last, expires))
            self._known.touch(session_id, last, expires)
        if words:
            await self._run(scripts.TOUCH, *words)

    async def destroy(self, session_id: str) -> Record | None:
        row = await self._run_on(scripts.DESTROY, session_id, session_id)
        self._known.drop(session_id)
        return self._known.read(session_id, row)

    def lock(self, session_id: str) -> Coroutine[Any, Any, RedisLease]:
        return self._locks.lock(session_id)

    async def of_user(self, user: str, limit: int = MAX_LISTED) -> list[Record]:
        return list(self._known.read_pairs(await self._run(scripts.OF_USER, user, limit)))

    async def count(self, user: str) -> int:
        return int(await self._run(scripts.COUNT, user))

    async def find(self, user: str, public_id: str) -> Record | None:
        found = await self._run(scripts.FIND, user, public_id)
        if found == 1:
            # once, however many ask meanwhile
            indexing = self._indexing.get(user)
            if indexing is None:
                indexing = asyncio.get_running_loop().create_task(self._index(user))
                self._indexing[user] = indexing
                indexing.add_done_callback(lambda _: self._indexing.pop(user))
            await asyncio.shield(indexing)
            found = await self._run(scripts.FIND, user, public_id)
        return next(self._known.read_pairs(found), None) if isinstance(found, list) else None

    async def _index(self, user: str) -> None:
        """Index by public id what an older release stored, which did not do so."""
        offset, stay = 0, 1
        while stay:
            stay, ids = await self._run(scripts.UNINDEXED, user, offset, _AT_ONCE)
            offset += stay
            if ids:
                words = [word for id in ids for word in (id, public_id(id.decode()))]
                await self._run(scripts.INDEX, user, *words)

    async def trim(
        self, user: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        found = await self._run(scripts.TRIM, user, maximum, keep, limit)
        return list(self._known.read_pairs(found))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return list(self._known.read_pairs(await self._run(scripts.PURGE, repr(now), limit)))

    async def ping(self) -> None:
        # a Redis that is full, cannot save, or is a replica refuses the write
        key, value = f"{scripts.PREFIX}ping:{self._mark}", secrets.token_hex(8)
        await self._link.run(pack(("SET", key, value, "PX", _PING_KEPT)))
        found = await self._link.run(pack(("GET", key)))
        if found != value.encode():
            raise StoreUnavailable("Redis does not keep what is written to it; check its settings")

    async def close(self) -> None:
        await cancel_all(self._indexing.values())
        self._locks.close()
        await self._link.close()

    async def _run(self, script: scripts.Script, *words: Word) -> Any:
        return await self._link.run(script.call(*words), script)

    async def _run_on(self, script: scripts.Script, session_id: str, *words: Word) -> Any:
        return await self._link.run(script.call_on(scripts.key(session_id), *words), script)
