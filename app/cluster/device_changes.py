"""Changes of users' lists of devices, broadcast to all processes."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

import msgspec

from app.common.log_and_continue import logged
from app.sessions.session import Session
from app.stores.redis import RedisClient
from app.stores.redis.subscriptions import Subscriber

log = logging.getLogger("latchkey.devices")

_CHANNEL = "latchkey:devices"
_BATCH_INTERVAL = 0.1  # seconds; longer than `Presence` takes to write what is broadcast here
_Message = tuple[list[str], list[str]]  # ids of sessions whose connections changed; account ids


class Watchers(Protocol):
    """The clients of this process that look at lists of devices."""

    def connections_changed(self, session_id: str) -> None:
        """Update the list that this session is in."""

    def changed(self, user_id: str) -> None:
        """Update the list of a user."""


class DeviceChanges:
    """Broadcasts in batches who signed in here and whose connections changed.

    `SessionEnds` broadcasts the ends of sessions. A lost message only delays an update: `Watchers`
    reads the lists anew every few seconds.
    """

    def __init__(self, client: RedisClient, watchers: Watchers) -> None:
        self._client = client
        self._watchers = watchers
        self._session_ids: set[str] = set()
        self._users: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def subscriber(self) -> Subscriber:
        """Return the Redis channels and the functions that take their messages."""
        return Subscriber(channels={_CHANNEL: self._receive})

    def connections_changed(self, session_id: str) -> None:
        """Broadcast that a connection of this session came, went or was upgraded."""
        self._session_ids.add(session_id)
        self._publish_soon()

    def signed_in(self, session: Session[Any]) -> None:
        """Broadcast that the user of this session has signed in."""
        if session.user_id is not None:
            self._users.add(session.user_id)
            self._publish_soon()

    def stop(self) -> None:
        """Broadcast no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _publish_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_BATCH_INTERVAL, self._publish)

    def _publish(self) -> None:
        message = msgspec.json.encode((list(self._session_ids), list(self._users)))
        self._timer = None
        self._session_ids.clear()
        self._users.clear()
        self._client.publish(_CHANNEL, message)

    def _receive(self, message: bytes) -> None:
        session_ids, users = msgspec.json.decode(message, type=_Message)
        for session_id in session_ids:
            with logged(log, "a changed connection of another process could not be shown"):
                self._watchers.connections_changed(session_id)
        for user in users:
            with logged(log, "a sign-in at another process could not be shown"):
                self._watchers.changed(user)
