"""Namespaces that one client has left, whose late packets are ignored."""

from __future__ import annotations

#: Packets that are ignored after a client has left a namespace: it may have sent them before it
#: knew. More than that close the connection.
MAX_LATE_PACKETS = 1000
#: Namespaces of one connection for which late packets are counted.
MAX_LEFT_NAMESPACES = 16


class LeftNamespaces:
    """Counts the late packets for each of the last namespaces that a client has left."""

    __slots__ = ("_remaining",)

    def __init__(self) -> None:
        self._remaining: dict[str, int] = {}  # namespace -> late packets that are still ignored

    def add(self, namespace: str) -> None:
        """Ignore the next packets for this namespace."""
        self._remaining.pop(namespace, None)
        self._remaining[namespace] = MAX_LATE_PACKETS
        if len(self._remaining) > MAX_LEFT_NAMESPACES:
            del self._remaining[next(iter(self._remaining))]

    def ignore(self, namespace: str) -> bool:
        """Count a packet for this namespace; return whether to ignore it."""
        remaining = self._remaining.get(namespace, 0)
        if remaining:
            self._remaining[namespace] = remaining - 1
        return remaining > 0
