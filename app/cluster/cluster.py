"""What the processes of one site have in common: the parts that hang on one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from app.cluster.device_changes import DeviceNews
from app.cluster.presence import SharedPresence
from app.cluster.process_number import ProcessNumber
from app.cluster.rooms import RedisRooms
from app.cluster.session_ends import Ends
from app.common.background import Background
from app.common.guard import logged
from app.ops.keys import description, warn_of_conflict
from app.services import Services
from app.sockets.connections import Connections
from app.stores import StoreError
from app.stores.redis.link import Link
from app.stores.redis.store import RedisStore

log = logging.getLogger("latchkey.rooms")

_LOOK_EVERY = 1.0  # seconds


class Shared:
    """The link to the Redis, and the store, rooms, ends and presence that use it."""

    def __init__(self, url: str, process_number: int) -> None:
        """Raises NoRedis, a ValueError, for a URL that cannot be used."""
        self._link = Link(url)
        self._number = ProcessNumber(self._link, process_number)
        self.store = RedisStore(self._link)
        self.rooms = RedisRooms(self._link)
        self._presence: SharedPresence | None = None
        self._background = Background()

    def know_connections(self, connections: Connections, keys: Sequence[str]) -> SharedPresence:
        """Tell other processes of these connections; return the presence of all processes.

        `keys` are those that sign cookies; `start` compares them with those of other processes.
        """
        self._keys = description(keys)
        self._presence = SharedPresence(self._link, connections, self._keys)
        return self._presence

    def join(self, services: Services) -> None:
        """Add to an application what it hears from, and tells, its other processes."""
        # the link, the sessions and the connections call them from now on
        self._ends = Ends(self._link, services.sessions, services.expiry)
        self._device_news = DeviceNews(self._link, services)

    async def start(self) -> None:
        """Connect and take the number; raises StoreUnavailable or NumberTaken."""
        await self._link.open()
        await self._number.claim()
        if self._presence is not None:
            self._presence.start()
            with contextlib.suppress(StoreError):
                warn_of_conflict(self._keys, await self._presence.others())
        self._background.start(self._look_around())

    async def _look_around(self) -> None:
        """Notice when this process has become the only one."""
        while True:
            with (
                logged(log, "the other processes could not be counted"),
                contextlib.suppress(StoreError),
            ):
                await self.rooms.count_others()
            await asyncio.sleep(_LOOK_EVERY)

    async def stop(self) -> None:
        """Give the number back, tell that the connections are gone; the store closes the link."""
        await self._number.release()
        await self._background.stop()
        await self._ends.stop()
        self._device_news.stop()
        self.rooms.stop()
        if self._presence is not None:
            await self._presence.stop()
