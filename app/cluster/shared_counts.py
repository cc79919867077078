"""The counts of all processes, in Redis."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping

import msgspec

from app.ops.site_counts import SLOT, SLOTS, Counts
from app.stores.redis import RedisClient

_KEY = "latchkey:counts"  # hash: what each process has and does now
_SLOT_KEY = "latchkey:counts:{}"  # hash: the sums of a slot
_TIMEOUT = 5.0  # seconds after which a process that tells nothing is not counted
_FIELDS = Counts.__struct_fields__


class _Told(msgspec.Struct):
    time: float
    counts: Counts


class RedisCounts:
    """The `SharedCounts` of all processes over one Redis; a slot outlives its processes."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._process = secrets.token_hex(8)

    async def tell(self, now: Counts) -> None:
        told = msgspec.json.encode(_Told(time.time(), now))
        await self._client.execute("HSET", _KEY, self._process, told)

    async def add(self, slot: int, counts: Counts) -> None:
        key = _SLOT_KEY.format(slot)
        for field in _FIELDS:
            await self._client.execute("HINCRBY", key, field, str(getattr(counts, field)))
        await self._client.execute("EXPIRE", key, str(SLOT * (SLOTS + 2)))

    async def now(self) -> Counts:
        total, told = Counts(), await self._client.execute("HGETALL", _KEY)
        for process, value in told.items():
            each = msgspec.json.decode(value, type=_Told)
            if abs(time.time() - each.time) < _TIMEOUT:
                total += each.counts
            elif time.time() - each.time > SLOT:
                await self._client.execute("HDEL", _KEY, process)  # it does not run any more
        return total

    async def slots(self, first: int) -> Mapping[int, Counts]:
        wanted = range(first, first + SLOTS)
        # together, so that they leave in one write
        found = await asyncio.gather(
            *(self._client.execute("HGETALL", _SLOT_KEY.format(slot)) for slot in wanted)
        )
        return {
            slot: Counts(*(int(kept.get(name.encode(), 0)) for name in _FIELDS))
            for slot, kept in zip(wanted, found, strict=True)
            if kept
        }
