"""How far a WebSocket is."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """The life of a WebSocket; it only moves forward."""

    ACCEPTED = 0  # the 101 is sent; what the client sends is kept
    PROBING = 1  # the client tries it, for a connection on polling
    OPEN = 2  # it carries the packets of its connection
    CLOSING = 3  # the close frame is sent; nothing is sent after it, what comes is dropped
    CLOSED = 4  # the socket is about to be lost
    LOST = 5  # the connection has been told, and is let go of
