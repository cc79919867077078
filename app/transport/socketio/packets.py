"""Socket.IO packets (protocol revision 5), decoded strictly and encoded once.

Texts here carry the type of the Engine.IO packet in front, `4` for a message, since that is how
they come out of a WebSocket frame and go back into one.
"""

from __future__ import annotations

import base64
from typing import Any

from app.transport.engineio import frames
from app.transport.socketio import packet_json
from app.transport.socketio.plain import ack_text

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)

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


class PacketError(ValueError):
    """A packet that the protocol does not allow; its text never holds what the client sent."""


class Packet:
    """One packet from a client, with the attachments that it still waits for."""

    __slots__ = (
        "_room",
        "_text",
        "announced",
        "attachments",
        "data",
        "id",
        "length",
        "namespace",
        "type",
    )

    def __init__(self, type: int, namespace: str, id: int | None, data: Any) -> None:
        self.type = type
        self.namespace = namespace
        self.id = id
        self.data = data
        self.length = 0  # of its text and attachments, for whoever sets it
        self.announced = 0

    def announce(self, count: int, text: str, room: int) -> None:
        """Wait for `count` attachments of `room` bytes together; `text` is the JSON until then.

        Decoded, a large text can take twenty times its size.
        """
        self.announced, self._text, self._room = count, text, room
        self.attachments: list[bytes] = []

    @property
    def size(self) -> int:
        """Characters that are decoded with the last attachment."""
        return len(self._text)

    def add(self, attachment: bytes) -> bool:
        """Take one attachment; True when it was the last and `data` is whole."""
        self._room -= len(attachment)
        if self._room < 0:
            raise PacketError("message with its attachments too big")
        self.attachments.append(attachment)
        self.length += len(attachment)
        if len(self.attachments) < self.announced:
            return False
        if self._text:
            self.data = _read_data(self.type, self._text)
        try:
            self.data = packet_json.fill(self.data, self.attachments)
        except ValueError as error:
            raise PacketError(str(error)) from None
        return True


def decode(
    text: str, *, limit: int = 1_000_000, max_attachments: int = packet_json.MAX_ATTACHMENTS
) -> Packet:
    """Decode an Engine.IO message that holds a Socket.IO packet; raise PacketError.

    `limit` is how many bytes the packet may have with all its attachments. Of binary packets it
    returns those without attachments as plain ones.
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
        at, announced = _read_announced(text, max_attachments)
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
    if announced:
        _check_containers(text, packet_json.MAX_CONTAINERS_TO_FILL)
    later = announced > 0 and len(text) > packet_json.SMALL
    packet = Packet(kind, namespace, id, None if later else _read_data(kind, text[at:]))
    if announced:
        packet.announce(announced, text[at:] if later else "", limit - len(text.encode()))
    return packet


def _read_data(kind: int, text: str) -> Any:
    data = _read_json(text) if text else None
    _check(kind, data, bool(text))
    return data


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


def _read_announced(text: str, most: int) -> tuple[int, int]:
    """Return where the packet goes on, and how many attachments follow it."""
    end = text.find("-", 2, 5)
    digits = text[2:end]
    if end < 0 or not (digits.isascii() and digits.isdigit()):
        raise PacketError("invalid number of attachments")
    if int(digits) > most:
        raise PacketError("too many attachments")
    return end + 1, int(digits)


def _check_containers(text: str, most: int) -> None:
    if len(text) > most and packet_json.count_containers(text) > most:
        raise PacketError("too many arrays and objects")


def _check_exponents(text: str) -> None:
    most = packet_json.MAX_LARGE_EXPONENTS
    if len(text) > most and packet_json.count_large_exponents(text) > most:
        raise PacketError("too many large exponents")


def _read_json(text: str) -> Any:
    _check_containers(text, packet_json.MAX_CONTAINERS)
    _check_exponents(text)
    try:
        return packet_json.decode(text)
    except ValueError as error:
        raise PacketError(str(error)) from None


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
    """Encode a packet; `data` None means no payload.

    Raise TypeError or ValueError, see `packet_json.encode`.
    """
    encoded, attachments = (b"", []) if data is None else packet_json.encode(data)
    return assemble(kind, namespace, id, encoded, attachments)


def assemble(
    kind: int, namespace: str, id: int | None, encoded: bytes, attachments: list[bytes]
) -> Message:
    """Make a packet of its head and of what `packet_json.encode` returned."""
    head = f"4{kind}"
    if attachments:
        head = f"4{kind + 3}{len(attachments)}-"
    if namespace != "/":
        head += namespace + ","
    if id is not None:
        head += str(id)
    return Message(head.encode() + encoded, attachments)


def encode_ack(namespace: str, id: int, answer: list[Any] | tuple[Any, ...]) -> bytes | Message:
    """Encode an ack, as bytes if it has no attachments; raise as `encode` does."""
    if namespace == "/" and len(answer) == 1 and type(answer[0]) in packet_json.SIMPLE:
        # Nearly every ack. The rest of the function would do.
        try:
            return ack_text(id, packet_json.dumps(answer))
        except UnicodeEncodeError:
            pass
    return encode(ACK, namespace, id, list(answer))
