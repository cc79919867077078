"""What a connection knows of its session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SocketContext:
    """The session of a connection, stored once: in the `context` of its Engine.IO connection."""

    session_id: str
    shown: bool = True  # whether the client has shown the session's cookie
    dead_ids: list[str] | tuple[str, ...] = ()  # of cookies that were invalid at the handshake
