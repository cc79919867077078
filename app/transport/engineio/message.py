"""A message to clients, in the form of each transport."""

from __future__ import annotations

import base64

from app.transport.engineio import frames

#: The type of an Engine.IO packet that carries a message of text.
MESSAGE = b"4"


class Message:
    """A message to clients, encoded at most once for each transport, however many receive it.

    It has a text, binary attachments, or both. Each is a packet of its own.
    """

    __slots__ = ("_framed", "_polled", "attachments", "text")

    def __init__(self, text: bytes | None, attachments: list[bytes]) -> None:
        self.text = text
        self.attachments = attachments
        self._framed: bytes | None = None
        self._polled: list[bytes] | None = None

    def __len__(self) -> int:
        """Return how many bytes it takes while it waits."""
        text = 0 if self.text is None else 1 + len(self.text)
        return text + sum(map(len, self.attachments))

    @property
    def framed(self) -> bytes:
        """All its WebSocket frames, one after the other."""
        if self._framed is None:
            text = b"" if self.text is None else frames.encode_text(MESSAGE, self.text)
            binary = [frames.encode(frames.BINARY, item) for item in self.attachments]
            self._framed = b"".join((text, *binary)) if binary else text
        return self._framed

    @property
    def polled(self) -> list[bytes]:
        """Its packets in a polling payload, where attachments are base64."""
        if self._polled is None:
            text = [] if self.text is None else [MESSAGE + self.text]
            self._polled = [*text, *(b"b" + base64.b64encode(item) for item in self.attachments)]
        return self._polled

    def split(self, count: int) -> tuple[Message, Message | None]:
        """Return a message of the first `count` packets, and one of the rest, if any."""
        cut = count - (self.text is not None)
        if len(self.attachments) <= cut:
            return self, None
        return Message(self.text, self.attachments[:cut]), Message(None, self.attachments[cut:])


def decode_attachment(packet: str) -> bytes | None:
    """Return a binary message that came as text, `b` and base64; None if this is none."""
    try:
        return base64.b64decode(packet[1:], validate=True) if packet[:1] == "b" else None
    except ValueError:
        return None
