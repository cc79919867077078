"""The session that people wire into python-socketio by hand: loaded and saved without a lock."""

from __future__ import annotations

import json
import secrets
from typing import Any

import socketio

Data = dict[str, Any]


class Sessions:
    """Sessions in memory, each encoded on its own as express-session's MemoryStore keeps them."""

    def __init__(self) -> None:
        self._stored: dict[str, str] = {}

    async def load(self, session_id: str | None) -> tuple[str, Data]:
        """Return the stored session of that id, or a new one under a new id, not yet stored."""
        stored = self._stored.get(session_id) if session_id else None
        if session_id is None or stored is None:
            return secrets.token_urlsafe(32), {"count": 0}
        return session_id, json.loads(stored)

    async def save(self, session_id: str, data: Data) -> None:
        self._stored[session_id] = json.dumps(data)

    async def increment(self, session_id: str | None) -> tuple[str, int]:
        """Reload, change and save; a concurrent change is lost."""
        session_id, data = await self.load(session_id)
        data["count"] += 1
        await self.save(session_id, data)
        return session_id, data["count"]


def wire(sio: socketio.AsyncServer, sessions: Sessions, cookie: Any) -> None:
    """Register the events; `cookie(environ)` returns the session id of a handshake, or None."""

    async def connect(sid: str, environ: dict[str, Any]) -> None:
        session_id, data = await sessions.load(cookie(environ))
        await sessions.save(session_id, data)
        await sio.save_session(sid, {"session_id": session_id})
        await sio.enter_room(sid, session_id)

    async def incr(sid: str) -> int:
        kept = await sio.get_session(sid)
        session_id, count = await sessions.increment(kept["session_id"])
        await sio.emit("current count", count, room=session_id, skip_sid=sid)
        return count

    sio.on("connect", connect)
    sio.on("incr", incr)
