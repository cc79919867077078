"""The users with sockets at all processes, in Redis."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from app.presence import Change, UserSockets
from app.presence.users import Forgotten, Key, Told
from app.stores.redis import RedisClient
from app.stores.redis.connection import Word
from app.stores.redis.script import Script

_UPDATE = Script.read("app.cluster", "present_update")
_BEAT = Script.read("app.cluster", "present_beat")
_TIMEOUT = 15.0  # seconds without a heartbeat after which a process is taken for dead
_STOP_TIMEOUT = 3.0  # seconds in which clients of a process that stops reach another one
_BATCH = 500  # changes


class UserPresence:
    """The `Users` of all processes over one Redis.

    A script counts the processes at which a user is, so exactly one process learns that the user
    came or left. Each process says every few seconds that it runs. The first one to notice that
    another does not removes the users of that one, and tells who has left with it.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._process = secrets.token_hex(8)
        self._is_known = False  # whether Redis has heard of this process

    async def update(self, changes: Sequence[Change]) -> list[bool]:
        """Note changes; return for each whether its user came as the first, or left as the last.

        Raises Forgotten if Redis does not know this process.
        """
        words: list[Word] = [self._process]
        for change in changes:
            value = "" if change.left else f"{change.sockets} {change.since:.3f}"
            words += (change.user_id, change.namespace, value)
        answers = await self._client.run(_UPDATE, (), *words)
        if answers is None:
            raise Forgotten
        return [answer == 1 for answer in answers]

    async def users(self, namespace: str) -> list[str]:
        """Return the users in a namespace at any process."""
        names = await self._client.execute("HKEYS", f"latchkey:present:in:{namespace}")
        return [name.decode() for name in names]

    async def everyone(self) -> set[str]:
        """Return the users in any namespace at any process."""
        processes = await self._client.execute("HKEYS", "latchkey:present")
        sets = [b"latchkey:present:of:" + process for process in processes]
        members = await self._client.execute("SUNION", *sets) if sets else ()
        return {_key(member)[1] for member in members}

    async def of(self, user_id: str) -> list[UserSockets]:
        """Return the sockets of a user at each other process."""
        kept = await self._client.execute("HGETALL", f"latchkey:present:at:{user_id}")
        found = []
        for field, value in kept.items():
            process, _, namespace = field.decode().partition("\n")
            sockets, _, since = value.decode().partition(" ")
            if process != self._process:
                found.append(UserSockets(namespace, int(sockets), float(since)))
        return found

    async def beat(self, here: Sequence[Change]) -> list[Told]:
        """Say that this process runs; return who left with a dead process.

        If Redis has lost what this process wrote, `here` is written again. If another process
        took this one for dead, the users who are `here` have come back.
        """
        state, *members = await self._beat(_TIMEOUT)
        told = [(_key(member), False) for member in members]
        if state != b"known" and self._is_known:
            for start in range(0, len(here), _BATCH):
                batch = here[start : start + _BATCH]
                for change, is_new in zip(batch, await self.update(batch), strict=True):
                    if is_new and state == b"removed":
                        told.append(((change.namespace, change.user_id), True))
        self._is_known = True
        return told

    async def stop(self, here: Sequence[Key]) -> list[Key]:
        """Let other processes tell who has left, once the clients had time to reach them."""
        await self._beat(_STOP_TIMEOUT, stops=True)
        return []

    async def _beat(self, seconds: float, *, stops: bool = False) -> list[bytes]:
        words = self._process, int(seconds * 1000), int(stops)
        answer: list[bytes] = await self._client.run(_BEAT, (), *words)
        return answer


def _key(member: bytes) -> Key:
    user_id, _, namespace = member.decode().partition("\n")
    return namespace, user_id
