"""Ends of sessions, broadcast to all processes."""

from __future__ import annotations

import secrets
from typing import Any, Protocol

import msgspec

from app.common.background import Background
from app.sessions.end_reason import EndReason
from app.sessions.manager import Sessions
from app.stores import Record
from app.stores.redis import RedisClient
from app.stores.redis.subscriptions import Subscriber

_CHANNEL = "latchkey:ended"
_Message = tuple[str, str, EndReason]  # the process that sends it, the session's id, why it ended


class Expiry(Protocol):
    """The periodic callback that ends sessions."""

    async def resume(self) -> None:
        """Look at all sessions after an outage of the store."""


class SessionEnds:
    """Broadcasts the ends of sessions in this process, and announces those of other processes.

    Messages may be lost, if a process dies or Redis is away. `Expiry.reconcile` finds such ends,
    and runs as soon as Redis is back.
    """

    def __init__(self, client: RedisClient, sessions: Sessions[Any], expiry: Expiry) -> None:
        self._client = client
        self._sessions = sessions
        self._expiry = expiry
        self._process = secrets.token_hex(8)
        self._was_disconnected = False
        self._background = Background()

    def subscriber(self) -> Subscriber:
        """Return the Redis channels and the functions that take their messages."""
        return Subscriber(
            channels={_CHANNEL: self._receive},
            connected=self._connected,
            disconnected=self._disconnected,
        )

    def publish(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        """Tell other processes that a session ended; only the one that removed the record tells."""
        # without a record, another process has removed it, and has broadcast the end
        if record is not None:
            message = msgspec.json.encode((self._process, session_id, reason))
            self._client.publish(_CHANNEL, message)

    async def stop(self) -> None:
        """Stop the announcements that are under way."""
        await self._background.stop()

    def _receive(self, message: bytes) -> None:
        process, session_id, reason = msgspec.json.decode(message, type=_Message)
        if process != self._process:
            self._background.start(self._sessions.announce_end(session_id, reason, None))

    def _disconnected(self) -> None:
        self._was_disconnected = True

    def _connected(self) -> None:
        if self._was_disconnected:
            self._was_disconnected = False
            self._background.start(self._expiry.resume())
