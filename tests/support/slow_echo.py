"""Namespaces whose handlers take their time."""

from __future__ import annotations

import asyncio

from tests.support.socket_server import Echo


class Slow(Echo):
    """Answers an event later, the sooner the higher its number; records who left."""

    order: list[int] = []
    left: list[tuple[str, str]] = []

    async def on_slow(self, sid: str, n: int) -> int:
        self.order.append(n)
        await asyncio.sleep(0.05 - n / 100)
        return n

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.left.append((sid, reason))


class Lingering(Echo):
    """Takes a while to let a client leave."""

    async def on_disconnect(self, sid: str, reason: str) -> None:
        assert sid in self.server.manager.clients
        assert not self.server.manager.is_connected(sid, self.namespace)
        await asyncio.sleep(0.05)
