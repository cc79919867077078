"""What /readyz answers."""

from __future__ import annotations

import json

from tests.support.visitor import Visitor


async def failed(visitor: Visitor) -> list[str]:
    """Return what /readyz names."""
    status, text = await visitor.get("/readyz")
    names: list[str] = json.loads(text)["failed"]
    assert (status == 200) == (names == [])
    return names


async def ready(visitor: Visitor) -> bool:
    return (await visitor.get("/readyz"))[0] == 200
