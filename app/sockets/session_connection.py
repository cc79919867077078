"""A connection that belongs to a session: of Socket.IO, or a plain WebSocket."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from app.common.log_and_continue import logged
from app.sessions.end_reason import EndReason
from app.sockets.socket_context import SocketContext
from app.transport import Peer
from app.transport import Reason as CloseReason
from app.transport.engineio.frames import GOING_AWAY

log = logging.getLogger("latchkey.connections")

#: Close code of a plain WebSocket whose session has ended, of the range for applications.
SESSION_ENDED = 4401


class Connection(Protocol):
    """One open connection of a session. Equal if it is the same connection."""

    @property
    def context(self) -> SocketContext:
        """The session that it belongs to."""
        ...

    def enter_also(self, room: str, new_room: str) -> None:
        """Let its clients that are in a room enter another one as well."""

    def leave(self, room: str) -> None:
        """Let its clients leave a room."""

    @property
    def transport(self) -> str:
        """The name of its transport, "websocket" or "polling"."""
        ...

    def end_session(self, reason: EndReason, *, reconnect: bool) -> None:
        """Tell the client why its session has ended and whether to reconnect; close."""

    def shut_down(self) -> None:
        """Close because the process stops; the client may reconnect."""


class SocketIOConnection(msgspec.Struct, frozen=True):  # faster to create than a dataclass
    """A connection of Socket.IO, with all its namespaces."""

    peer: Peer

    @property
    def context(self) -> SocketContext:
        context: SocketContext = self.peer.connection.context
        return context

    def enter_also(self, room: str, new_room: str) -> None:
        self.peer.enter_also(room, new_room)

    def leave(self, room: str) -> None:
        self.peer.leave_room(room)

    @property
    def transport(self) -> str:
        return self.peer.connection.transport.name

    def end_session(self, reason: EndReason, *, reconnect: bool) -> None:
        with logged(log, "the end of a session could not be announced"):
            self.peer.emit("session ended", {"reason": reason, "reconnect": reconnect})
        self.peer.close(disconnect=not reconnect)

    def shut_down(self) -> None:
        self.peer.close(reason=CloseReason.SHUTDOWN)


@dataclass(frozen=True, slots=True, eq=False)
class PlainWebSocket:
    """A WebSocket without Socket.IO."""

    context: SocketContext
    close: Callable[[int, str], None]  # with a close code and a reason
    transport: str = "websocket"

    def enter_also(self, room: str, new_room: str) -> None:
        pass  # it is in no room

    def leave(self, room: str) -> None:
        pass

    def end_session(self, reason: EndReason, *, reconnect: bool) -> None:
        self.close(SESSION_ENDED, f"session ended: {reason}")

    def shut_down(self) -> None:
        self.close(GOING_AWAY, "server shutdown")
