"""The sockets that watch the list of a user's devices, and the lists that they are sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from app.common.background import Background, wait_until_set
from app.common.log_and_continue import logged
from app.devices.device import Device, DeviceList
from app.devices.devices import Devices
from app.sessions.end_reason import EndReason
from app.sessions.session import Session
from app.stores import Record, StoreError

log = logging.getLogger("latchkey.devices")

_MIN_INTERVAL = 0.25  # seconds between two lists; changes in between go into one
_PAUSE_FACTOR = 4.0  # a pause after a list is this many times what the list took
_REFRESH_INTERVAL = 5.0  # seconds after which a list is built without a known change

#: Sends a list to the socket with this sid.
Send = Callable[[str, list[Device]], Awaitable[None]]


class Watchers:
    """Sends sockets the list of their user's devices, and each change of it.

    A list is built only for users whose sockets watch in this process, at most four times a
    second, and sent to a socket if it differs from the last one.
    """

    def __init__(self, devices: Devices) -> None:
        self._devices = devices
        self._watches: dict[str, _Watch] = {}  # by account id
        self._users: dict[str, str] = {}  # by session id, for the sessions in watched lists
        self._background = Background()

    def watch(self, user_id: str, sid: str, session_id: Callable[[], str], send: Send) -> None:
        """Send this socket the list of a user soon and after each change, until `unwatch`.

        `session_id` returns the id that its session has now. Lists are sent only while that is a
        session of the user; for an administrator's socket it returns an empty string.
        """
        watch = self._watches.get(user_id)
        if watch is None:
            watch = self._watches[user_id] = _Watch()
            watch.task = self._background.start(self._follow(user_id, watch))
        watch.sockets[sid] = session_id, send
        watch.changed.set()

    def unwatch(self, user_id: str, sid: str) -> None:
        """Send this socket no more lists."""
        watch = self._watches.get(user_id)
        if watch is None or watch.sockets.pop(sid, None) is None:
            return
        watch.sent.pop(sid, None)
        if not watch.sockets:
            del self._watches[user_id]
            self._forget(watch)

    async def stop(self) -> None:
        """Send no more lists to any socket."""
        watches, self._watches = list(self._watches.values()), {}
        for watch in watches:
            watch.sockets.clear()
            self._forget(watch)
        await self._background.stop()

    def changed(self, user_id: str) -> None:
        """Build the list of this user again."""
        watch = self._watches.get(user_id)
        if watch is not None:
            watch.changed.set()

    def connections_changed(self, session_id: str) -> None:
        """Follow a connection of this session that opened, closed or changed its transport."""
        user_id = self._users.get(session_id)
        if user_id is not None:
            self.changed(user_id)

    async def signed_in(self, session: Session[Any]) -> None:
        """Follow a sign-in."""
        if session.user_id is not None:
            self.changed(session.user_id)

    async def session_ended(
        self, session_id: str, reason: EndReason, record: Record | None
    ) -> None:
        """Follow the end of a session."""
        # another process that ended the session sends its id only
        user_id = self._users.get(session_id) if record is None else record.user_id
        if user_id is not None:
            self.changed(user_id)

    async def _follow(self, user_id: str, watch: _Watch) -> None:
        """Build and send the lists of one user, one after the other, while sockets watch.

        A list that took long is followed by a longer pause, so that the other users' requests
        have most of the loop, however many sockets and sessions this user has.
        """
        loop, pause = asyncio.get_running_loop(), _MIN_INTERVAL
        while watch.sockets:
            await wait_until_set(watch.changed, _REFRESH_INTERVAL)
            await asyncio.sleep(pause)
            watch.changed.clear()
            began = loop.time()
            try:
                await self._send(user_id, watch)
            except StoreError as error:
                log.info("a list of devices is late, the store failed: %s", error)
            except Exception:
                log.exception("a list of devices could not be sent")
            pause = max(_MIN_INTERVAL, _PAUSE_FACTOR * (loop.time() - began))

    async def _send(self, user_id: str, watch: _Watch) -> None:
        ids = {session_id() for session_id, _ in watch.sockets.values()}
        asking = ids - {""}
        records, _ = await self._devices.latest(user_id, asking)
        if not watch.sockets:  # they left meanwhile
            return
        # before the connections are read: if one changes after that, the list is built again
        self._index(user_id, watch, {record.id for record in records})
        devices = await self._devices.of_records(records)
        for sid, (current_id, send) in list(watch.sockets.items()):
            session_id = current_id()
            # a session that ended without this process knowing gets no list of its former user
            if (session_id and session_id not in devices) or sid not in watch.sockets:
                continue
            if watch.sent.get(sid) == devices:
                continue
            watch.sent[sid] = devices
            with logged(log, "a list of devices could not be sent to a socket"):
                await send(sid, devices.seen_by(session_id))
            await asyncio.sleep(0)  # one user may have thousands of sockets

    def _index(self, user_id: str, watch: _Watch, session_ids: set[str]) -> None:
        """Remember the sessions of a list as those of this user."""
        for session_id in watch.session_ids - session_ids:
            self._users.pop(session_id, None)
        watch.session_ids = session_ids
        self._users.update(dict.fromkeys(session_ids, user_id))

    def _forget(self, watch: _Watch) -> None:
        watch.task.cancel()
        for session_id in watch.session_ids:
            self._users.pop(session_id, None)


class _Watch:
    """The sockets that watch one user's list."""

    def __init__(self) -> None:
        # sid -> how to get the session id, and how to send
        self.sockets: dict[str, tuple[Callable[[], str], Send]] = {}
        self.sent: dict[str, DeviceList] = {}  # sid -> the list that was sent last
        self.session_ids: set[str] = set()  # those of the latest list
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None]
