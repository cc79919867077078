"""WebSocket frames (RFC 6455) as bytes in and bytes out; nothing here knows a socket.

permessage-deflate is never negotiated, so all reserved bits must be zero.
"""

from __future__ import annotations

from typing import NamedTuple

try:
    from tornado.speedups import websocket_mask
except ImportError:  # Tornado was built without its C module

    def websocket_mask(mask: bytes, data: bytes) -> bytes:
        size = len(data)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


unmask = websocket_mask

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

#: Close codes of RFC 6455, 7.4.1.
NORMAL, GOING_AWAY, PROTOCOL_ERROR, INVALID_DATA = 1000, 1001, 1002, 1007
POLICY_VIOLATION, TOO_BIG = 1008, 1009

_FIN, _MASKED = 0x80, 0x80
_NOT_UTF8 = "text is not UTF-8"
_WHOLE_TEXT = _FIN | TEXT
_SHORT_HEAD = 6  # bytes before the payload of a masked frame of up to 125 bytes
_SHORT_TEXT = tuple(bytes((_FIN | TEXT, size)) for size in range(126))  # heads of such frames


class FrameError(Exception):
    """What the client sent is not RFC 6455; `code` is the close code to answer with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class Control(NamedTuple):
    """A close, ping or pong frame."""

    opcode: int
    payload: bytes


#: A frame that is not the last one of its message.
FRAGMENT = Control(CONTINUATION, b"")


class FrameParser:
    """Turns what a client sends into messages: `str` for text, `bytes` for binary, `Control`.

    Bytes of a frame that is not complete are kept and looked at again only when the frame can
    be complete, so a message that comes one byte at a time costs no more than one read at once.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_fragments",
        "_limit",
        "_needed",
        "_opcode",
        "_short",
        "ready",
        "size",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit  # bytes in one message, all its fragments together
        self._short = _SHORT_HEAD + min(limit, 125)  # bytes of the longest short frame
        self._buffer: bytes | bytearray = b""
        self._at = 0  # 0 while nothing is ready
        self._needed = 2  # bytes from _at on before it is worth looking again
        self._opcode = 0  # of the fragmented message under way
        self._fragments: bytearray | None = None
        self.ready = 0  # bytes that `next` can work on; 0 while the next frame is not complete
        self.size = 0  # bytes of the frame that was taken last

    def feed(self, data: bytes) -> None:
        """Add what was read from the socket."""
        if not self._buffer:  # nothing waits, nearly always
            self._buffer = data
            self.ready = len(data) if len(data) >= self._needed else 0
            return
        if isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer)[self._at :] + data
            self._at = 0
        available = len(self._buffer) - self._at
        self.ready = available if available >= self._needed else 0

    def clear(self) -> None:
        """Drop the bytes that were fed."""
        self._buffer, self._at, self.ready = b"", 0, 0

    def next(self) -> str | bytes | Control | None:
        """Return the next message, or None until more is fed; raise FrameError.

        A frame that does not complete its message gives FRAGMENT, so that it can be charged for.
        """
        while self.ready:
            buffer, at, ready = self._buffer, self._at, self.ready
            if (
                buffer[0] == _WHOLE_TEXT
                and buffer[1] == _MASKED + ready - _SHORT_HEAD
                and _SHORT_HEAD <= ready <= self._short
                and not at
                and self._fragments is None
                and type(buffer) is bytes
            ):
                # Nearly every frame: short, text, and all that was read. The rest of the method
                # would do, but needs twice the time: 0.5 µs more.
                self._buffer, self.size, self.ready = b"", ready, 0
                try:
                    return unmask(buffer[2:6], buffer[6:]).decode()
                except UnicodeDecodeError:
                    raise FrameError(INVALID_DATA, _NOT_UTF8) from None
            first, second = buffer[at], buffer[at + 1]
            size = second & 0x7F
            if not second & _MASKED:
                raise FrameError(PROTOCOL_ERROR, "a client's frames must be masked")
            start = at + 2
            if size > 125:
                width = 2 if size == 126 else 8
                start += width
                if self.ready < start - at:
                    self._wait_for(start - at)
                    continue
                shortest = 126 if width == 2 else 65536
                size = int.from_bytes(buffer[start - width : start], "big")
                if size < shortest or size >> 63:
                    raise FrameError(PROTOCOL_ERROR, "wrong form of length")
            if size + len(self._fragments or b"") > self._limit and first & 0x0F < CLOSE:
                raise FrameError(TOO_BIG, "message too big")
            self._check(first, second)
            end = start + 4 + size
            if end > len(buffer):
                self._wait_for(end - at)
                continue
            payload = unmask(bytes(buffer[start : start + 4]), bytes(buffer[start + 4 : end]))
            self._take(at, end)
            return self._assemble(first, payload)
        return None

    def _take(self, at: int, end: int) -> None:
        """Go on behind a frame."""
        self.size = end - at
        self.ready = len(self._buffer) - end
        if self.ready:
            self._at = end
            self._wait_for(2)
        else:
            self._buffer, self._at, self._needed = b"", 0, 2

    def _wait_for(self, needed: int) -> None:
        """Wait until so many bytes of the next frame are here; keep no other bytes till then."""
        self._needed = needed
        if self.ready < needed:
            self.ready = 0
            if self._at:
                self._buffer = bytearray(self._buffer[self._at :])
                self._at = 0

    def _check(self, first: int, second: int) -> None:
        """Apply the rules of RFC 6455, 5.2 to 5.5 that need only the first two bytes."""
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(PROTOCOL_ERROR, "reserved bits are set")
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FrameError(PROTOCOL_ERROR, "unknown opcode")
            if not first & _FIN or second & 0x7F > 125:
                raise FrameError(PROTOCOL_ERROR, "control frame in fragments or over 125 bytes")
        elif opcode > BINARY:
            raise FrameError(PROTOCOL_ERROR, "unknown opcode")
        elif (opcode == CONTINUATION) != (self._fragments is not None):
            raise FrameError(PROTOCOL_ERROR, "fragments out of order")

    def _assemble(self, first: int, payload: bytes) -> str | bytes | Control:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return Control(opcode, payload)
        if self._fragments is None:
            if first & _FIN:
                return _text(payload) if opcode == TEXT else payload
            self._opcode = opcode
            self._fragments = bytearray()
        self._fragments += payload
        if not first & _FIN:
            return FRAGMENT
        whole = bytes(self._fragments)
        self._fragments = None
        return _text(whole) if self._opcode == TEXT else whole


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, _NOT_UTF8) from None


def close_code(payload: bytes) -> int:
    """Return the code of a close frame's payload (1000 when it has none); raise FrameError."""
    if not payload:
        return NORMAL
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (
        1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
    ):
        raise FrameError(PROTOCOL_ERROR, "invalid close code")
    _text(payload[2:])
    return code


def encode(opcode: int, payload: bytes) -> bytes:
    """Return one whole, unmasked frame, as a server sends it."""
    size = len(payload)
    if opcode == TEXT and size < 126:
        return _SHORT_TEXT[size] + payload
    return _head(opcode, size) + payload


def encode_text(kind: bytes, text: bytes) -> bytes:
    """Return a frame of text that begins with `kind`, one byte; the text is copied once."""
    return _head(TEXT, 1 + len(text)) + kind + text


def _head(opcode: int, size: int) -> bytes:
    if size < 126:
        return bytes((_FIN | opcode, size))
    if size < 65536:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big")
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")


def encode_close(code: int) -> bytes:
    """Return a close frame; 0 stands for a close frame without a code."""
    return encode(CLOSE, code.to_bytes(2, "big") if code else b"")
