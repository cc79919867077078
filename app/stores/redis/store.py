"""Sessions in Redis or Valkey, for several processes and machines.

Redis has acknowledged every acknowledged change. Its own settings decide whether that survives a
power cut or a failover (`docs/redis.md`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from app.common.background import cancel_all
from app.stores.errors import StoreUnavailable
from app.stores.protocol import MAX_LISTED, Lease
from app.stores.record import Record, public_id
from app.stores.redis import store_scripts as scripts
from app.stores.redis.client import RedisClient
from app.stores.redis.kept_leases import KeptLeases
from app.stores.redis.keys import PREFIX, REPLACED, record_key
from app.stores.redis.locks import RedisLocks
from app.stores.redis.record_cache import FIELDS, RecordCache
from app.stores.redis.record_words import ttl, words_of
from app.stores.redis.store_scripts import FindReply

_BATCH = 500  # records
_PING_TTL = 60_000  # milliseconds


class RedisStore:
    """A SessionStore in a Redis that other processes use too."""

    shared = True

    def __init__(self, client: RedisClient) -> None:
        """The client has to tell the store's `subscribers` of messages: see `subscribe`."""
        self._client = client
        self._cache = RecordCache()
        # RedisLocks alone do the same with two round trips for each edit
        self._locks = KeptLeases(RedisLocks(client, self._cache))
        self.subscribers = (self._cache.subscriber(), *self._locks.subscribers())
        self._indexing: dict[str, asyncio.Task[None]] = {}
        self.try_lock = self._locks.try_lock

    def cached(self, session_id: str) -> Record | None:
        return self._cache.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        invalidations = self._cache.invalidations
        row = await self._client.execute("HMGET", record_key(session_id), *FIELDS)
        record = self._cache.read(session_id, row)
        if record is not None:
            self._cache.put(record, invalidations)
        return record

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), _BATCH):
            ids = session_ids[start : start + _BATCH]
            rows = await self._client.run(scripts.LOAD_MANY, (), *ids)
            for session_id, row in zip(ids, rows, strict=True):
                record = self._cache.read(session_id, row)
                if record is None:
                    self._cache.drop(session_id)
                else:
                    found[session_id] = record
        return found

    async def save(self, record: Record) -> None:
        invalidations = self._cache.invalidations
        await self._client.run(
            scripts.ADD,
            (record_key(record.id),),
            *words_of(record),
            change=True,
        )
        self._cache.put(record, invalidations)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        words: list[str] = []
        for session_id, (last, expires) in seen.items():
            words += (session_id, repr(last), repr(expires), ttl(last, expires))
            self._cache.touch(session_id, last, expires)
        if words:
            await self._client.run(scripts.TOUCH, (), *words)

    async def destroy(self, session_id: str) -> Record | None:
        key = record_key(session_id)
        row = await self._client.run(scripts.DESTROY, (key,), session_id, change=True)
        self._cache.drop(session_id)
        return self._cache.read(session_id, row)

    async def replaced_by(self, session_id: str) -> bytes | None:
        note: bytes | None = await self._client.execute("GET", f"{REPLACED}:{session_id}")
        return note

    def lock(self, session_id: str) -> Coroutine[Any, Any, Lease]:
        return self._locks.lock(session_id)

    async def of_user(self, user_id: str, limit: int = MAX_LISTED) -> list[Record]:
        found = await self._client.run(scripts.OF_USER, (), user_id, limit)
        return list(self._cache.read_pairs(found))

    async def count(self, user_id: str) -> int:
        return int(await self._client.execute("ZCARD", f"{PREFIX}user:{user_id}"))

    async def find(self, user_id: str, public_id: str) -> Record | None:
        found = await self._client.run(scripts.FIND, (), user_id, public_id)
        if found == FindReply.UNINDEXED:
            await self._index_once(user_id)
            found = await self._client.run(scripts.FIND, (), user_id, public_id)
        return next(self._cache.read_pairs(found), None) if isinstance(found, list) else None

    async def _index_once(self, user_id: str) -> None:
        """Share one run of `_index` between simultaneous calls."""
        indexing = self._indexing.get(user_id)
        if indexing is None:
            indexing = asyncio.get_running_loop().create_task(self._index(user_id))
            self._indexing[user_id] = indexing
            indexing.add_done_callback(lambda _: self._indexing.pop(user_id))
        await asyncio.shield(indexing)

    async def _index(self, user_id: str) -> None:
        """Index by public id the sessions that an older release stored without one."""
        offset, still = 0, 1
        while still:
            still, ids = await self._client.run(scripts.UNINDEXED, (), user_id, offset, _BATCH)
            offset += still
            if ids:
                words = [word for id in ids for word in (id, public_id(id.decode()))]
                await self._client.run(scripts.INDEX, (), user_id, *words)

    async def trim(
        self, user_id: str, maximum: int, keep: str, limit: int = MAX_LISTED
    ) -> list[Record]:
        found = await self._client.run(scripts.TRIM, (), user_id, maximum, keep, limit, change=True)
        return list(self._cache.read_pairs(found))

    async def purge(self, now: float, limit: int) -> list[Record]:
        found = await self._client.run(scripts.PURGE, (), repr(now), limit)
        return list(self._cache.read_pairs(found))

    async def scan(self, cursor: str, limit: int) -> tuple[list[Record], str]:
        # COUNT is how many keys Redis looks at; locks and indexes are keys too
        found, keys = await self._client.execute(
            *("SCAN", cursor or "0", "MATCH", f"{PREFIX}{{*}}", "COUNT", limit, "TYPE", "hash")
        )
        ids = [key.decode()[len(PREFIX) + 1 : -1] for key in keys]
        records = await self.load_many(ids) if ids else {}
        return [*records.values()], "" if found == b"0" else found.decode()

    async def stored(self) -> int:
        return int(await self._client.execute("ZCARD", f"{PREFIX}expiry"))

    async def ping(self) -> None:
        # a Redis that is full, cannot save, or is a replica refuses the write
        name = secrets.token_hex(8)  # a key of its own: other pings may run at the same time
        key = f"{PREFIX}ping:{name}"
        await self._client.execute("SET", key, name, "PX", _PING_TTL)
        if await self._client.execute("GET", key) != name.encode():
            raise StoreUnavailable("Redis does not keep what is written to it; check its settings")

    async def close(self) -> None:
        await cancel_all(self._indexing.values())
        self._locks.close()
        await self._client.close()
