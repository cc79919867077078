"""The visitor of the test kit, who knows the counter of the demo."""

from __future__ import annotations

from typing import Any

from app import testing
from app.testing import Socket

__all__ = ["Socket", "Visitor"]


class Visitor(testing.Visitor):
    """A browser made of aiohttp and python-socketio."""

    async def incr(self) -> int:
        """Raise the counter by a page."""
        status, text = await self.post("/incr")
        assert status == 200, text
        return int(text)

    async def sign_up(self, name: str, password: str = testing.PASSWORD) -> None:
        """Register a user and be signed in as that user."""
        await self.register(name, password)

    async def socket(
        self,
        *names: str,
        namespaces: tuple[str, ...] = (),
        transport: testing.Transport | None = None,
        **options: Any,
    ) -> Socket:
        """Connect; `names` are namespaces, or transports as the official client takes them."""
        transports: list[Any] = [name for name in names if not name.startswith("/")]
        if len(transports) == 1:
            transport = transports[0]
        spaces = namespaces or [name for name in names if name.startswith("/")]
        return await super().socket(*spaces, transport=transport, **options)
