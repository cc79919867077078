"""WebSocket pings count against --events-per-second like everything that a client sends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.raw import Raw
from tests.support.site import serve


async def test_a_flood_of_pings_is_slowed_down(tmp_path: Path) -> None:
    """At 10 a second and bursts of 20, 2,000 pings are not all answered at once."""
    async with serve(tmp_path, events_per_second=10) as site, Raw(site.url) as raw:
        assert (await raw.websocket()).status == 101
        await raw.receive()
        raw.send("40")
        await raw.receive()
        ping = b"\x89\x81\0\0\0\0p"
        raw.writer.write(ping * 2000)
        pongs = 0
        try:
            async with asyncio.timeout(1):
                while await raw.reader.readexactly(3) == b"\x8a\x01p":
                    pongs += 1
        except TimeoutError:
            pass
        assert pongs < 100
