"""The cap on a session's connections holds against handshakes that come at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.raw import POLLING, UPGRADE, WEBSOCKET, Raw
from tests.support.site import serve
from tests.support.visitor import Visitor


@pytest.mark.parametrize("path", [POLLING, WEBSOCKET])
async def test_many_handshakes_at_once_stay_within_the_cap(tmp_path: Path, path: str) -> None:
    """Those that are under way count as well as those that are open."""
    async with serve(tmp_path, max_connections_per_session=5) as site, Visitor(site.url) as visitor:
        await visitor.incr()
        cookie = ("Cookie", visitor.cookie)
        raws = [await Raw(site.url).__aenter__() for _ in range(60)]
        headers = tuple(UPGRADE.items()) if path == WEBSOCKET else ()
        for raw in raws:
            raw.write(path, *headers, cookie)
        answers = [await raw.answer() for raw in raws]
        statuses = [answer.status for answer in answers]
        await asyncio.sleep(0.05)
        assert len(site.services.connections) <= 5, statuses
        for raw in raws:
            raw.writer.close()
