"""A client whose connect handler runs."""

from __future__ import annotations

from app.transport.engineio.backlog import OVERHEAD
from app.transport.engineio.message import Message


class Joining:
    """A client whose CONNECT is not answered yet; its messages wait for the reply."""

    __slots__ = ("disconnected", "left", "messages", "sid", "size")

    def __init__(self) -> None:
        self.sid = ""
        self.messages: list[Message] = []
        self.size = 0  # bytes of the messages
        self.left = False  # the client has sent a DISCONNECT
        self.disconnected = False  # the server wants to disconnect it

    def add(self, message: Message) -> None:
        """Keep a message for after the reply."""
        self.messages.append(message)
        self.size += len(message) + OVERHEAD
