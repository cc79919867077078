"""Frames that wait until the socket takes more."""

from __future__ import annotations

_CHUNK = 65536  # bytes


class FrameQueue:
    """Whole frames, in chunks, so that a small frame costs its own bytes and no more."""

    __slots__ = ("_chunks", "size")

    def __init__(self) -> None:
        self._chunks: list[bytearray] = []  # an empty deque takes 600 bytes
        self.size = 0  # bytes

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, frames: bytes) -> None:
        """Add frames at the end."""
        if not self._chunks or len(self._chunks[-1]) > _CHUNK:
            self._chunks.append(bytearray())
        self._chunks[-1] += frames
        self.size += len(frames)

    def add_first(self, frame: bytes) -> None:
        """Add a frame that goes out before the others."""
        self._chunks.insert(0, bytearray(frame))
        self.size += len(frame)

    def take(self) -> bytearray:
        """Take the first chunk out."""
        chunk = self._chunks.pop(0)
        self.size -= len(chunk)
        return chunk

    def clear(self) -> None:
        """Drop all frames."""
        self._chunks.clear()
        self.size = 0
