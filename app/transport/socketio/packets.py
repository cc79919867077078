"""Socket.IO packets (protocol revision 5), decoded strictly and encoded once."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import msgspec

from app.transport.engineio.message import Message
from app.transport.engineio.receiver_protocol import ProtocolError
from app.transport.socketio import packet_json

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


class PacketError(ProtocolError):
    """A packet that the protocol does not allow."""


class Limits(NamedTuple):
    """Limits of a binary packet from a client."""

    size: int = 1_000_000  #: bytes, with all its attachments
    attachments: int = packet_json.MAX_ATTACHMENTS


_LIMITS = Limits()


class Packet(msgspec.Struct, eq=False):
    """One packet from a client."""

    type: int
    namespace: str
    id: int | None
    data: Any
    size: int  # characters of its text and bytes of its attachments
    announced: ClassVar[int] = 0  # attachments that follow it


class BinaryPacket(Packet, eq=False):
    """A packet whose attachments follow in further messages."""

    announced: int  # type: ignore[misc]  # which is 0 for the others
    attachments: list[bytes]
    _room: int  # bytes that the attachments still to come may have
    _text: str  # the JSON, if it is decoded with the last attachment

    @property
    def unread(self) -> int:
        """Characters that are decoded with the last attachment."""
        return len(self._text)

    def add(self, attachment: bytes) -> bool:
        """Take one attachment; True when it was the last and `data` is whole."""
        self._room -= len(attachment)
        if self._room < 0:
            raise PacketError("message with its attachments too big")
        self.attachments.append(attachment)
        self.size += len(attachment)
        if len(self.attachments) < self.announced:
            return False
        if self._text:
            self.data = _read_data(self.type, self._text)
        try:
            self.data = packet_json.fill(self.data, self.attachments)
        except ValueError as error:
            raise PacketError(str(error)) from None
        return True


def decode(text: str, limits: Limits = _LIMITS) -> Packet | BinaryPacket:
    """Decode a packet; raise PacketError. Binary packets without attachments become plain ones."""
    start = text.find("[", 1, _MAX_ID_DIGITS + 2)
    if start > 0 and text[0] == "2":
        digits = text[1:start]
        if not digits or (digits.isdigit() and digits.isascii()):
            # Nearly every packet: an event in "/". The rest of the function would do.
            id = int(digits) if digits else None
            return Packet(EVENT, "/", id, _read_event(text[start:]), len(text))
    kind = ord(text[0]) - 48 if text else -1
    if not 0 <= kind <= BINARY_ACK:
        raise PacketError("unknown packet type")
    at, announced, namespace, id = 1, 0, "/", None
    if kind >= BINARY_EVENT:
        at, announced = _read_announced(text, limits.attachments)
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
    if not announced:
        return Packet(kind, namespace, id, _read_data(kind, text[at:]), len(text))
    return _begin_binary(
        kind, namespace, id, text[at:], announced, limits.size - len(text.encode())
    )


def _begin_binary(
    kind: int, namespace: str, id: int | None, text: str, announced: int, room: int
) -> BinaryPacket:
    try:
        packet_json.check_containers(text, packet_json.MAX_CONTAINERS_TO_FILL)
    except ValueError as error:
        raise PacketError(str(error)) from None
    # decoded, a large text can take twenty times its size
    later = len(text) > packet_json.SMALL
    data = None if later else _read_data(kind, text)
    kept = text if later else ""
    return BinaryPacket(kind, namespace, id, data, len(text), announced, [], room, kept)


def _read_data(kind: int, text: str) -> Any:
    """Decode the payload by the protocol's rules for each type, as Node's parser does."""
    if kind == EVENT and text:
        return _read_event(text)
    try:
        data: Any = packet_json.decode(text) if text else None
    except ValueError as error:
        raise PacketError(str(error)) from None
    if kind == ACK:
        valid = type(data) is list
    elif kind == CONNECT:
        valid = type(data) is dict or not text
    else:
        valid = kind == DISCONNECT and not text
    if not valid:
        raise PacketError("invalid payload")
    return data


def _read_event(text: str) -> list[Any]:
    """Decode the name of an event and its arguments."""
    try:
        data = packet_json.decode(text)
    except ValueError as error:
        raise PacketError(str(error)) from None
    if type(data) is list and data and type(data[0]) is str and data[0] not in RESERVED_EVENTS:
        return data
    raise PacketError("invalid payload")


def _read_announced(text: str, most: int) -> tuple[int, int]:
    """Return where the packet goes on, and how many attachments follow it."""
    end = text.find("-", 1, 4)
    digits = text[1:end]
    if end < 0 or not (digits.isascii() and digits.isdigit()):
        raise PacketError("invalid number of attachments")
    if int(digits) > most:
        raise PacketError("too many attachments")
    return end + 1, int(digits)


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
    head = str(kind)
    if attachments:
        head = f"{kind + 3}{len(attachments)}-"
    if namespace != "/":
        head += namespace + ","
    if id is not None:
        head += str(id)
    return Message(head.encode() + encoded, attachments)


def encode_connected(namespace: str, sid: str) -> bytes:
    """Encode the reply to a CONNECT, as the bytes of a text."""
    head = "0" if namespace == "/" else f"0{namespace},"
    return f'{head}{{"sid":"{sid}"}}'.encode()


def encode_ack(namespace: str, id: int, answer: list[Any] | tuple[Any, ...]) -> bytes | Message:
    """Encode an ack, most as the bytes of a text; raise as `encode` does."""
    if namespace == "/" and len(answer) == 1 and type(answer[0]) in packet_json.SIMPLE:
        # Nearly every ack. The rest of the function would do.
        try:
            return b"3%d%b" % (id, packet_json.dumps(answer))
        except UnicodeEncodeError:
            pass
    return encode(ACK, namespace, id, list(answer))
