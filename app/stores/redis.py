"""Sessions in Redis or Valkey, for several processes and machines.

What is acknowledged is stored in the Redis; whether that survives a power cut or a failover is
its own setting (`docs/redis.md`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import random
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from app.stores import redis_scripts as scripts
from app.stores.base import LeaseLost, Record, RecordGone, StoreBusy
from app.stores.locks import Locks
from app.stores.redis_link import Link
from app.stores.redis_wire import ReplyError, Word, pack

log = logging.getLogger("latchkey.redis")

_PATIENCE = 10.0  # seconds that a lock is waited for
_LEASE = 5000  # milliseconds after which a process that died no longer holds a lock
_ASK_AGAIN = 0.05  # seconds; who is next is told earlier
_SLACK = 3600.0  # seconds that Redis keeps what is over, so that a process can tell of its end
_MOST_KNOWN = 20_000  # records, of about half a kilobyte each
_AT_ONCE = 500

_Row = list[Any]  # the fields in the order of `scripts.FIELDS`


def _key(session_id: str) -> bytes:
    return b"latchkey:{%b}" % session_id.encode()


def _left(seen: float, expires: float) -> str:
    """Milliseconds after which Redis forgets by itself; empty: never.

    From one time to the other, so that it does not matter what clock they are from.
    """
    if math.isinf(expires):
        return ""
    return str(int((max(expires - seen, 0.0) + _SLACK) * 1000))


class RedisStore:
    """A SessionStore in a Redis that other processes use too.

    A lock is waited for in this process first, so that one asks the Redis for all.

    `known` is what this process has read or written and nobody has told to be gone; that is
    cleared with the connection, without which nobody could tell.
    """

    shared = True

    def __init__(self, link: Link) -> None:
        self._link = link
        self._me = secrets.token_hex(8)  # 16 characters, which the scripts count on
        self._numbers = itertools.count()
        self._locks = Locks(_PATIENCE)
        self._turns: dict[bytes, asyncio.Future[None]] = {}
        self._unsure: dict[bytes, bytes] = {}  # tokens that may still hold a lock, and of what
        self._known: dict[str, Record] = {}
        self._gone = 0  # how often something has been told to be gone
        self._made = msgspec.msgpack.Decoder(tuple[float, str, str])
        self._load = tuple(field.encode() for field in scripts.FIELDS)
        link.listen("latchkey:gone", self._hear_gone)
        link.listen(f"latchkey:turn:{self._me}", self._hear_turn)
        link.on_up.append(self._give_back)
        link.on_down.append(self._forget)

    # -- records --

    def known(self, session_id: str) -> Record | None:
        return self._known.get(session_id)

    async def load(self, session_id: str) -> Record | None:
        gone = self._gone
        row = await self._link.run(pack((b"HMGET", _key(session_id), *self._load)))
        return self._remember(self._read(session_id, row), gone)

    async def load_many(self, session_ids: Sequence[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        for start in range(0, len(session_ids), _AT_ONCE):
            ids = session_ids[start : start + _AT_ONCE]
            rows = await self._run(scripts.LOAD_MANY, *ids)
            for session_id, row in zip(ids, rows, strict=True):
                record = self._read(session_id, row)
                if record is None:
                    self._known.pop(session_id, None)
                else:
                    found[session_id] = record
        return found

    async def save(self, record: Record) -> None:
        made = (record.created, record.remote_address, record.user_agent)
        words = (
            *(record.id, _left(record.seen, record.expires)),
            *(record.version, record.data, repr(record.seen), repr(record.expires)),
            msgspec.msgpack.encode(made),
            *(() if record.user is None else (record.user,)),
        )
        gone = self._gone
        await self._run_on(scripts.ADD, record.id, *words)
        self._remember(record, gone)

    async def touch(self, seen: Mapping[str, tuple[float, float]]) -> None:
        words: list[str] = []
        for session_id, (last, expires) in seen.items():
            words += (session_id, repr(last), repr(expires), _left(last, expires))
            known = self._known.get(session_id)
            if known is not None and known.seen < last:
                self._known[session_id] = msgspec.structs.replace(known, seen=last, expires=expires)
        if words:
            await self._run(scripts.TOUCH, *words)

    async def destroy(self, session_id: str) -> Record | None:
        row = await self._run_on(scripts.DESTROY, session_id, session_id)
        self._known.pop(session_id, None)
        return self._read(session_id, row)

    async def of_user(self, user: str) -> list[Record]:
        return list(self._pairs(await self._run(scripts.OF_USER, user)))

    async def purge(self, now: float, limit: int) -> list[Record]:
        return list(self._pairs(await self._run(scripts.PURGE, repr(now), limit)))

    async def ping(self) -> None:
        # a write, which a Redis that is full or a replica refuses
        await self._link.run(pack(("SET", f"{scripts.PREFIX}ping", self._me, "PX", 1000)))

    async def close(self) -> None:
        await self._link.close()

    async def _run(self, script: scripts.Script, *words: Word) -> Any:
        return await self._link.run(script.call(*words), script)

    async def _run_on(self, script: scripts.Script, session_id: str, *words: Word) -> Any:
        return await self._link.run(script.call_on(_key(session_id), *words), script)

    def _read(self, session_id: str, row: _Row) -> Record | None:
        """Return the record of a row; None where there is none, or none that can be read.

        One that somebody spoiled by hand must not keep a batch of others from being looked after.
        """
        try:
            return self._parse(session_id, row)
        except (ValueError, TypeError, AttributeError) as error:
            log.error("a session in the Redis cannot be read and counts as gone: %s", error)
            return None

    def _parse(self, session_id: str, row: _Row) -> Record | None:
        version, data, seen, expires, user, made = row
        if version is None:
            return None
        known = self._known.get(session_id)
        if (
            known is not None
            and known.data == data
            and known.version == int(version)
            and known.seen == float(seen)
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

    def _pairs(self, found: Sequence[Any]) -> Iterator[Record]:
        for id, row in zip(found[::2], found[1::2], strict=True):
            record = self._read(id.decode(), row)
            if record is not None:
                yield record

    # -- what is known here --

    def _remember(self, record: Record | None, gone: int) -> Record | None:
        """Keep a record that was asked for when `gone` ends had been heard of."""
        if record is not None and gone == self._gone and self._link.up:
            if len(self._known) >= _MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[record.id] = record
        return record

    def _hear_gone(self, channel: bytes, message: bytes) -> None:
        self._gone += 1
        self._known.pop(message.decode(), None)

    def _forget(self) -> None:
        self._gone += 1
        self._known.clear()

    # -- locks --

    def take(self, session_id: str) -> None:
        return None  # the Redis has to be asked

    async def lock(self, session_id: str) -> RedisLease:
        await self._locks.acquire(session_id)
        key, token = _key(session_id), b"%b:%d" % (self._me.encode(), next(self._numbers))
        up, gone = self._link.up, self._gone
        try:
            command = scripts.LOCK.call_on(key, token, _LEASE)
            try:
                row = await self._link.call(command)
            except (ReplyError, ConnectionError) as error:
                row = await self._link.recover(error, command, scripts.LOCK)
            if row == 0:
                row = await self._wait(token, command)
            record = self._remember(self._read(session_id, row), gone)
        except BaseException:
            if up or self._link.up:
                self._let_go(key, token)
            self._locks.release(session_id)
            raise
        return RedisLease(self, session_id, key, token, record)

    async def _wait(self, token: bytes, command: bytes) -> Any:
        """Ask for the lock until it is had."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while loop.time() < deadline:
            turn = self._turns[token] = loop.create_future()
            try:
                pause = _ASK_AGAIN * random.uniform(0.5, 1.5)  # noqa: S311
                await asyncio.wait((turn,), timeout=pause)
            finally:
                del self._turns[token]
            row = await self._link.run(command, scripts.LOCK)
            if row != 0:
                return row
        raise StoreBusy(
            f"another process has edited this session for more than {_PATIENCE:g} s; "
            "try again, and keep slow work outside of the session's block"
        )

    def _hear_turn(self, channel: bytes, message: bytes) -> None:
        turn = self._turns.get(message)
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _let_go(self, key: bytes, token: bytes) -> None:
        """Give back a lock that is held, or may be: the command for it is on its way or lost."""
        if not self._link.up:
            self._unsure[token] = key
            return
        reply = self._link.call(scripts.RELEASE.call_on(key, token))
        reply.add_done_callback(lambda reply: self._released(reply, key, token))

    def _released(self, reply: asyncio.Future[Any], key: bytes, token: bytes) -> None:
        error = None if reply.cancelled() else reply.exception()
        if isinstance(error, ConnectionError):
            self._unsure[token] = key
        elif isinstance(error, ReplyError) and error.code == "NOSCRIPT":
            self._link.teach()
            self._let_go(key, token)

    def _give_back(self) -> None:
        """After an outage free what nobody could free; other processes need not wait for it."""
        unsure, self._unsure = self._unsure, {}
        for token, key in unsure.items():
            self._let_go(key, token)


class RedisLease:
    """The lock of one session in a RedisStore, for `_LEASE` milliseconds.

    After those another process may have it; a save then still finds out whether it was too late.
    """

    __slots__ = ("_id", "_key", "_store", "_token", "record")

    def __init__(
        self, store: RedisStore, session_id: str, key: bytes, token: bytes, record: Record | None
    ) -> None:
        self._store = store
        self._id = session_id
        self._key = key
        self._token = token
        self.record = record

    async def save(self, data: bytes) -> Record:
        store, read = self._store, self.record
        version = 0 if read is None else read.version
        gone = store._gone
        command = scripts.SAVE.call_on(self._key, self._token, version, version + 1, data)
        try:
            try:
                result = await store._link.call(command)
            except (ReplyError, ConnectionError) as error:
                result = await store._link.recover(error, command, scripts.SAVE)
        except BaseException:
            store._let_go(self._key, self._token)
            raise
        finally:
            # the next one's command comes after this one, also where nobody waits for the reply
            store._locks.release(self._id)
        if result == 0:
            raise RecordGone(self._id)
        if result < 0 or read is None:
            raise LeaseLost(self._id)
        record = read.with_data(data)
        store._remember(record, gone)
        return record

    async def release(self) -> None:
        self._store._let_go(self._key, self._token)
        self._store._locks.release(self._id)
