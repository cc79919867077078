"""Socket.IO packets (protocol revision 5), decoded strictly and encoded once.

Texts here carry the type of the Engine.IO packet in front, `4` for a message, since that is how
they come out of a WebSocket frame and go back into one.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import msgspec

from app.transport import frames
from app.transport.plain import ack_text

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

#: Node's socket.io-parser allows as many.
MAX_ATTACHMENTS = 10
MAX_DEPTH = 128
MAX_NAMESPACE = 256
_MAX_ID_DIGITS = 15  # below 2**53, so that a browser can have counted to it

#: Names that the client and server libraries emit themselves; `*` is python-socketio's catch-all.
RESERVED_EVENTS = frozenset(
    {
        "*",
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    }
)

loads = msgspec.json.Decoder().decode
_dumps = msgspec.json.Encoder().encode
_PLAIN = frozenset({str, int, bool, type(None)})


class PacketError(ValueError):
    """A packet that the protocol does not allow; its text never holds what the client sent."""


class Packet:
    """One packet from a client, with the attachments that it still waits for."""

    __slots__ = ("announced", "attachments", "data", "id", "namespace", "type")

    def __init__(
        self, type: int, namespace: str, id: int | None, data: Any, announced: int = 0
    ) -> None:
        self.type = type
        self.namespace = namespace
        self.id = id
        self.data = data
        self.announced = announced
        self.attachments: list[bytes] = []

    def add(self, attachment: bytes) -> bool:
        """Take one attachment; True when it was the last and `data` is whole."""
        self.attachments.append(attachment)
        if len(self.attachments) < self.announced:
            return False
        self.data = _fill(self.data, self.attachments)
        return True


def decode(text: str) -> Packet:
    """Decode an Engine.IO message that holds a Socket.IO packet; raise PacketError.

    Of binary packets it returns those without attachments as plain ones.
    """
    start = text.find("[", 2, _MAX_ID_DIGITS + 3)
    digits = text[2:start]
    if start >= 2 and text[1] == "2" and (not digits or (digits.isascii() and digits.isdigit())):
        # Nearly every packet: an event in "/". The rest of the function would do.
        return Packet(EVENT, "/", int(digits) if digits else None, read_event(text[start:]))
    kind = ord(text[1]) - 48 if len(text) > 1 else -1
    if not 0 <= kind <= BINARY_ACK:
        raise PacketError("unknown packet type")
    at, announced, namespace, id = 2, 0, "/", None
    if kind >= BINARY_EVENT:
        at, announced = _read_announced(text)
        kind -= 3
    if text[at : at + 1] == "/":
        end = text.find(",", at)
        end = len(text) if end < 0 else end
        namespace = text[at:end]
        if len(namespace) > MAX_NAMESPACE:
            raise PacketError("namespace too long")
        at = end + 1
    start = at
    while "0" <= text[at : at + 1] <= "9":
        at += 1
        if at - start > _MAX_ID_DIGITS:
            raise PacketError("id too long")
    if at > start:
        id = int(text[start:at])
    data = _read_json(text[at:]) if at < len(text) else None
    _check(kind, data, at < len(text))
    return Packet(kind, namespace, id, data, announced)


def read_event(text: str) -> list[Any]:
    """Return the name and the arguments of an event, from a JSON array; raise PacketError."""
    event: list[Any] = _read_json(text)
    if not event or type(event[0]) is not str or event[0] in RESERVED_EVENTS:
        raise PacketError("invalid payload")
    return event


def decode_attachment(packet: str) -> bytes | None:
    """Return an attachment that came as text, from clients without binary; None if it is none."""
    try:
        return base64.b64decode(packet[1:], validate=True) if packet[:1] == "b" else None
    except ValueError:
        return None


def _read_announced(text: str) -> tuple[int, int]:
    """Return where the packet goes on, and how many attachments follow it."""
    end = text.find("-", 2, 5)
    digits = text[2:end]
    if end < 0 or not (digits.isascii() and digits.isdigit()):
        raise PacketError("invalid number of attachments")
    if int(digits) > MAX_ATTACHMENTS:
        raise PacketError("too many attachments")
    return end + 1, int(digits)


def _read_json(text: str) -> Any:
    # Counting brackets is far cheaper than measuring the depth, and nearly always enough.
    if (
        len(text) > MAX_DEPTH
        and text.count("[") + text.count("{") > MAX_DEPTH
        and _depth(text) > MAX_DEPTH
    ):
        raise PacketError("nested too deeply")
    try:
        return loads(text)
    # msgspec's own errors are no ValueErrors before 0.21; the message would quote the client
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise PacketError("invalid JSON") from None


def _depth(text: str) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "[{":
            depth += 1
            deepest = max(depth, deepest)
        elif character in "]}":
            depth -= 1
    return deepest


def _check(kind: int, data: Any, present: bool) -> None:
    """Apply the protocol's rules on the payload of each type, as Node's parser does."""
    if kind == EVENT:
        valid = (
            type(data) is list and data and type(data[0]) is str and data[0] not in RESERVED_EVENTS
        )
    elif kind == ACK:
        valid = type(data) is list
    elif kind == CONNECT:
        valid = type(data) is dict or not present
    else:
        valid = kind == DISCONNECT and not present
    if not valid:
        raise PacketError("invalid payload")


def _fill(value: Any, attachments: list[bytes]) -> Any:
    """Put the attachments in the place of their placeholders."""
    if type(value) is list:
        return [_fill(item, attachments) for item in value]
    if type(value) is not dict:
        return value
    if value.get("_placeholder") is not True:
        return {key: _fill(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise PacketError("invalid placeholder")
    return attachments[number]


def _extract(value: Any, attachments: list[bytes]) -> Any:
    """Put placeholders in the place of binary values; refuse what JSON cannot say."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError("NaN and Infinity cannot be sent: JSON has no word for them")
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        attachments.append(bytes(value))
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, dict):
        return {key: _extract(item, attachments) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_extract(item, attachments) for item in value]
    return value


class Message:
    """A packet to clients, encoded at most once for each transport, however many receive it.

    Without text it is a binary message of Engine.IO alone.
    """

    __slots__ = ("_framed", "_polled", "attachments", "text")

    def __init__(self, text: bytes, attachments: list[bytes]) -> None:
        self.text = text
        self.attachments = attachments
        self._framed: bytes | None = None
        self._polled: list[bytes] | None = None

    def __len__(self) -> int:
        """Bytes that it takes while it waits."""
        return len(self.text) + sum(map(len, self.attachments))

    @property
    def framed(self) -> bytes:
        """All its WebSocket frames, one after the other."""
        if self._framed is None:
            if not self.attachments:
                self._framed = frames.encode(frames.TEXT, self.text)
                return self._framed
            binary = [frames.encode(frames.BINARY, item) for item in self.attachments]
            text = [frames.encode(frames.TEXT, self.text)] if self.text else []
            self._framed = b"".join((*text, *binary))
        return self._framed

    @property
    def polled(self) -> list[bytes]:
        """Its Engine.IO packets in a long-polling payload; attachments are base64 there."""
        if self._polled is None:
            binary = [b"b" + base64.b64encode(item) for item in self.attachments]
            self._polled = [self.text, *binary] if self.text else binary
        return self._polled

    def split(self, count: int) -> tuple[Message, Message | None]:
        """Return a message of the first `count` Engine.IO packets, and one of the rest, if any."""
        texts = 1 if self.text else 0
        if texts + len(self.attachments) <= count:
            return self, None
        cut = count - texts
        return Message(self.text, self.attachments[:cut]), Message(b"", self.attachments[cut:])


def encode(kind: int, namespace: str, id: int | None = None, data: Any = None) -> Message:
    """Encode a packet; `data` None means no payload. Raise for what JSON cannot hold."""
    attachments: list[bytes] = []
    if data is not None and not (type(data) is list and _PLAIN.issuperset(map(type, data))):
        data = _extract(data, attachments)
    payload = b"" if data is None else _dumps(data)
    head = f"4{kind}"
    if attachments:
        head = f"4{kind + 3}{len(attachments)}-"
    if namespace != "/":
        head += namespace + ","
    if id is not None:
        head += str(id)
    return Message(head.encode() + payload, attachments)


def encode_ack(namespace: str, id: int, answer: list[Any] | tuple[Any, ...]) -> bytes | Message:
    """Encode an ack, as bytes if it has no attachments; raise for what JSON cannot hold."""
    if namespace == "/" and len(answer) == 1 and type(answer[0]) in _PLAIN:
        # Nearly every ack. The rest of the function would do.
        return ack_text(id, _dumps(answer))
    return encode(ACK, namespace, id, answer)
