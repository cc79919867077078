"""What the application is told about connections and events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.transport.socketio.peer import Peer


def _nothing(*args: Any) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """Functions that the server calls at once; they must not raise."""

    #: A connection is open. Its context is set, and it is in no namespace yet.
    opened: Callable[[Peer], None] = _nothing
    #: A connection has moved from polling to a WebSocket.
    upgraded: Callable[[Peer], None] = _nothing
    #: A connection has closed, and why. The disconnect handlers were started before.
    closed: Callable[[Peer, str], None] = _nothing
    #: A handler raised, or an ack could not be sent.
    event_failed: Callable[[], None] = _nothing
