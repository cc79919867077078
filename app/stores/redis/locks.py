"""The locks of sessions, which the processes that share a Redis have by turns."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import secrets
from typing import Any

import msgspec

from app.stores.errors import LeaseLost, RecordGone, StoreBusy
from app.stores.locks import Locks
from app.stores.record import Record
from app.stores.redis import scripts
from app.stores.redis.kept_locks import KeptLocks
from app.stores.redis.link import Link
from app.stores.redis.records import MOST, KnownRecords
from app.stores.redis.wire import END, ReplyError, bulk, size

_PATIENCE = 10.0  # seconds that a lock is waited for
_LEASE = 5000  # milliseconds after which a process that died no longer holds a lock
_ASK_AGAIN = 0.05  # seconds; who is next is told earlier

# These are most of what is sent, and so joined here from parts that are packed already. An owner
# is a session's key and the token of one edit, both packed.
_LOCK = scripts.LOCK.opening(4)
_SAVE = scripts.SAVE.opening(4)
_RELEASE = scripts.RELEASE.opening(1)
# a token, to be filled with the process (16 characters) and the number of its edit
_TOKEN_FORM = b"$32\r\n%b:%%015d\r\n"
_NOTHING = bulk(b"")


@functools.lru_cache(MOST)
def _key(session_id: str) -> bytes:
    return bulk(scripts.key(session_id))


@functools.lru_cache(MOST)
def _version(version: int) -> bytes:
    return bulk(b"%d" % version)


@functools.lru_cache(MOST)
def _seconds(seconds: float) -> bytes:
    return bulk(repr(seconds).encode())


class RedisLocks:
    """One lock per session for all processes.

    It is waited for in this process first, so that one asks the Redis for all.
    """

    def __init__(self, link: Link, known: KnownRecords) -> None:
        self._link = link
        self._known = known
        me = secrets.token_hex(8)  # 16 characters, which the scripts count on
        self._token_form = _TOKEN_FORM % me.encode()
        self._numbers = itertools.count()
        self._here = Locks(_PATIENCE)
        self._kept = KeptLocks(known.get, self._let_go)
        self._turns: dict[bytes, asyncio.Future[None]] = {}
        self._unsure: list[bytes] = []  # owners that may still hold their lock
        self._lease = bulk(b"%d" % _LEASE)
        link.listen(f"latchkey:turn:{me}", self._hear_turn)
        link.listen(f"latchkey:wanted:{me}", self._hear_wanted)
        link.on_up.append(self._give_back)
        link.on_down.append(self._kept.give_back_all)

    def try_lock(self, session_id: str) -> RedisLease | None:
        """Take a lock that was kept from the last edit; None where `lock` has to be asked."""
        if session_id not in self._kept.now or not self._here.try_acquire(session_id):
            return None
        kept = self._kept.take(session_id)
        if kept is None:
            self._here.release(session_id)
            return None
        owner, record = kept
        return RedisLease(self, session_id, owner, _version(record.version), record)

    async def lock(self, session_id: str) -> RedisLease:
        if not self._here.try_acquire(session_id):
            await self._here.acquire(session_id)
        kept = self._kept.take(session_id)
        if kept is not None:
            owner, read = kept
            return RedisLease(self, session_id, owner, _version(read.version), read)
        owner = _key(session_id) + self._token_form % next(self._numbers)
        link, records = self._link, self._known
        call, get = link.call, records.get
        up, gone, known = link.up, records.gone, get(session_id)
        if known is None:
            version = seen = _NOTHING
        else:
            version, seen = _version(known.version), _seconds(known.seen)
        command = b"".join((_LOCK, owner, version, seen, self._lease))
        try:
            try:
                row = await call(command)
            except (ReplyError, ConnectionError) as error:
                row = await link.recover(error, command, scripts.LOCK)
            if row == 0:
                row = await self._wait(owner, command)
            if row == 1:
                return RedisLease(self, session_id, owner, version, known)
            record = records.read(session_id, row, known)
            if record is not None:
                records.keep(record, gone)
        except BaseException:
            if up or link.up:
                self._let_go(owner)
            self._here.release(session_id)
            raise
        version = _NOTHING if record is None else _version(record.version)
        return RedisLease(self, session_id, owner, version, record)

    async def _wait(self, owner: bytes, command: bytes) -> Any:
        """Ask for the lock until it is had."""
        token = owner.split(END)[-2]  # an owner ends with it
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

    def _hear_wanted(self, channel: bytes, message: bytes) -> None:
        self._kept.wanted(message.decode())

    def close(self) -> None:
        """Give back what is not in use."""
        self._kept.close()

    def _let_go(self, owner: bytes) -> None:
        """Give back a lock that is held, or may be: the command for it is on its way or lost."""
        if not self._link.up:
            self._unsure.append(owner)
            return
        reply = self._link.call(_RELEASE + owner)
        reply.add_done_callback(lambda reply: self._released(reply, owner))

    def _released(self, reply: asyncio.Future[Any], owner: bytes) -> None:
        error = None if reply.cancelled() else reply.exception()
        if isinstance(error, ConnectionError):
            self._unsure.append(owner)
        elif isinstance(error, ReplyError) and error.code == "NOSCRIPT":
            self._link.teach()
            self._let_go(owner)

    def _give_back(self) -> None:
        """After an outage free what nobody could free; other processes need not wait for it."""
        unsure, self._unsure = self._unsure, []
        for owner in unsure:
            self._let_go(owner)


class RedisLease(msgspec.Struct, eq=False):  # made faster than other objects
    """The lock of one session in a Redis, for `_LEASE` milliseconds.

    After those another process may have it; a save then still finds out whether it was too late.
    """

    _locks: RedisLocks
    _id: str
    _owner: bytes
    _version: bytes  # of the record, packed
    record: Record | None

    __repr__ = object.__repr__  # a log must not show the id

    async def save(self, data: bytes) -> Record:
        locks, read = self._locks, self.record
        call = locks._link.call
        gone = locks._known.gone
        since = locks._kept.saving(self._id)
        keep = locks._lease if since else _NOTHING
        command = b"".join((_SAVE, self._owner, self._version, size(len(data)), data, END, keep))
        try:
            try:
                result = await call(command)
            except (ReplyError, ConnectionError) as error:
                result = await locks._link.recover(error, command, scripts.SAVE)
        except BaseException:
            locks._let_go(self._owner)
            raise
        finally:
            # the next one's command comes after this one, also where nobody waits for the reply
            locks._here.release(self._id)
        if result > 0 and read is not None:
            record = read.with_data(data)
            locks._known.keep(record, gone)
            if result == 2:
                locks._kept.wanted(self._id)
            elif since:
                locks._kept.keep(self._id, self._owner, record.version, since)
            return record
        raise RecordGone(self._id) if result == 0 else LeaseLost(self._id)

    async def release(self) -> None:
        self._locks._let_go(self._owner)
        self._locks._here.release(self._id)
