"""The commonest thing that a client sends, and the commonest that it gets, each in one step.

That is a short event in "/", alone in its frame, and a short text. Nothing is taken here that the
long way, frame by frame and packet by packet, would refuse or understand otherwise; whatever is
not plain goes that way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.transport.engineio.frames import unmask

__all__ = ["ack_text", "plain_event", "text_frame"]

_HEAD = 6  # bytes in front of a short frame's payload: two, and the mask (RFC 6455, 5.2)
_LONGEST = 125  # bytes of payload whose number the second byte can hold
_DIGITS = 15  # of an ack id, which is below 2**53


def event_in_python(
    buffer: memoryview,
    size: int,
    longest: int,
    loads: Callable[[bytes], Any],
    reserved: frozenset[str],
) -> tuple[int | None, list[Any]] | None:
    """Return the ack id (None without one), and name and arguments of a plain event.

    None for what is no event, or no plain one. The first `size` bytes of the buffer are what came
    in one read; `longest` is how many bytes a message may have; `loads` decodes JSON; no event of
    a client's has a `reserved` name.
    """
    if buffer[0] != 0x81 or buffer[1] != 0x80 | size - _HEAD:  # final, text, masked, and no more
        return None
    if not 3 <= size - _HEAD <= min(_LONGEST, longest):
        return None
    payload = unmask(bytes(buffer[2:_HEAD]), bytes(buffer[_HEAD:size]))
    start = payload.find(b"[", 2, 3 + _DIGITS)
    if start < 2 or payload[:2] != b"42" or not payload.isascii():
        return None
    digits = payload[2:start]
    if digits and not digits.isdigit():
        return None
    try:
        data = loads(payload[start:])
    except Exception:
        return None
    if type(data) is list and data and type(data[0]) is str and data[0] not in reserved:
        return int(digits) if digits else None, data
    return None


def frame_in_python(payload: bytes) -> bytes | None:
    """Return a server's frame with this text in it; None for a text that is not short."""
    if len(payload) > _LONGEST:
        return None
    return bytes((0x81, len(payload))) + payload


def ack_in_python(id: int, answer: bytes) -> bytes:
    """Return the packet that acknowledges the event of this id in "/" with this JSON array."""
    return b"43%d%b" % (id, answer)


try:
    from app.transport.socketio._plain import ack_text, plain_event, text_frame
except ImportError:  # installed where there was no compiler
    plain_event, text_frame, ack_text = event_in_python, frame_in_python, ack_in_python
