"""The session of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SocketContext:
    """The session of a connection, stored once: in the `context` of its Engine.IO connection."""

    session_id: str
    cookie_returned: bool = True  # whether the client has sent the session's cookie
    dead_ids: list[str] | tuple[str, ...] = ()  # of cookies that were invalid at the handshake
    request_id: str = ""  # of the handshake
