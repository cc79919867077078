"""A transport that notes each write."""

from __future__ import annotations

from typing import Any


class Recorded:
    """A transport that notes each write."""

    def __init__(self, transport: Any, notes: list[str]) -> None:
        self._transport, self._notes = transport, notes

    def write(self, data: bytes) -> None:
        self._notes.append("write")
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
