"""What changes in users' lists of devices, told from one process to all others."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from app.common.guard import logged
from app.services import Services
from app.sessions.session import Session
from app.stores.redis.link import Link
from app.stores.redis.wire import pack

log = logging.getLogger("latchkey.devices")

_CHANNEL = "latchkey:devices"
_GATHER = 0.1  # seconds; longer than `SharedPresence` takes to write what is told here
_Told = tuple[list[str], list[str]]  # ids of sessions whose connections changed; users


class DeviceNews:
    """Tells other processes who signed in here and whose connections changed, in batches.

    Ends are told by `Ends`. Nothing depends on it: `Devices` looks every few seconds anyway.
    """

    def __init__(self, link: Link, services: Services) -> None:
        self._link = link
        self._watchers = services.device_watchers
        self._session_ids: set[str] = set()
        self._users: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        services.connections.on_change.append(self._connections_changed)
        services.on_login.append(self._signed_in)
        link.listen(_CHANNEL, self._hear)

    def _connections_changed(self, session_id: str) -> None:
        self._session_ids.add(session_id)
        self._tell_soon()

    def _signed_in(self, session: Session[Any]) -> None:
        if session.user is not None:
            self._users.add(session.user)
            self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER, self._tell)

    def _tell(self) -> None:
        message = msgspec.json.encode((list(self._session_ids), list(self._users)))
        self._timer = None
        self._session_ids.clear()
        self._users.clear()
        self._link.send(pack(("PUBLISH", _CHANNEL, message)))

    def stop(self) -> None:
        """Send no more lists."""
        if self._timer is not None:
            self._timer.cancel()

    def _hear(self, channel: bytes, message: bytes) -> None:
        session_ids, users = msgspec.json.decode(message, type=_Told)
        for session_id in session_ids:
            with logged(log, "a change of another process failed"):
                self._watchers.connections_changed(session_id)
        for user in users:
            with logged(log, "a sign-in at another process failed"):
                self._watchers.changed(user)
