"""The commonest thing that a client sends, in one step: a short event in "/", alone in its frame.

Nothing is taken here that the long way, frame by frame and packet by packet, would refuse or
understand otherwise; whatever is not plain goes that way.
"""

from __future__ import annotations

from app.transport.frames import unmask

_HEAD = 6  # bytes in front of a short frame's payload: two, and the mask (RFC 6455, 5.2)
_LONGEST = 125  # bytes of payload whose number the second byte can hold
_DIGITS = 15  # of an ack id, which is below 2**53


def in_python(buffer: memoryview, size: int, longest: int) -> tuple[int | None, str] | None:
    """Return the ack id (None without one) and the JSON array of a plain event; None for others.

    The first `size` bytes of the buffer are what came in one read; `longest` is how many bytes a
    message may have.
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
    return int(digits) if digits else None, str(payload[start:], "ascii")


try:
    from app.transport import _plain
except ImportError:  # installed where there was no compiler
    plain_event = in_python
else:
    plain_event = _plain.plain_event
