"""Ends of sessions, told from one process to all others."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from app.common.background import Background
from app.sessions.expiry import Expiry
from app.sessions.manager import Sessions
from app.sessions.reason import EndReason
from app.stores import Record
from app.stores.redis.link import Link
from app.stores.redis.wire import pack

_CHANNEL = "latchkey:ended"
_Told = tuple[str, str, EndReason]  # the process that tells, the session's id, why it ended


class Ends:
    """Tells other processes what ended in this one, and announces here what ended in others.

    Nothing depends on it: an end that is not heard, because its process died or the Redis was
    away, is found by `Expiry.reconcile`, which also runs as soon as the Redis is back.
    """

    def __init__(self, link: Link, sessions: Sessions[Any], expiry: Expiry) -> None:
        self._link = link
        self._sessions = sessions
        self._expiry = expiry
        self._me = secrets.token_hex(8)
        self._missed = False
        self._background = Background()
        sessions.on_end.append(self._tell)
        link.listen(_CHANNEL, self._hear)
        link.on_down.append(self._down)
        link.on_up.append(self._up)

    async def _tell(self, session_id: str, reason: EndReason, record: Record | None) -> None:
        # without a record it is an end that another process brought about, and has told
        if record is not None:
            message = msgspec.json.encode((self._me, session_id, reason))
            self._link.send(pack(("PUBLISH", _CHANNEL, message)))

    def _hear(self, channel: bytes, message: bytes) -> None:
        process, session_id, reason = msgspec.json.decode(message, type=_Told)
        if process != self._me:
            self._background.start(self._sessions.announce_end(session_id, reason, None))

    def _down(self) -> None:
        self._missed = True

    def _up(self) -> None:
        if self._missed:
            self._missed = False
            self._background.start(self._expiry.resume())

    async def stop(self) -> None:
        """Stop the announcements of ends that are still under way."""
        await self._background.stop()
