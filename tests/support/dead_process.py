"""The first of two processes behind a proxy dies."""

from __future__ import annotations

import json
import signal

from tests.support.cluster import Cluster
from tests.support.raw import POLLING, WEBSOCKET
from tests.support.visitor import Visitor


async def first_process_dies(site: Cluster, ann: Visitor) -> None:
    """Kill it; the other one serves pages and sockets, and answers that old ids are unknown."""
    await ann.incr()
    async with site.raw() as raw:
        while not (opened := await site.open_sid(raw))[0].startswith("0-"):
            pass
    await site.processes[0].stop(signal.SIGKILL)
    for number in range(10):
        assert await ann.incr() == 2 + number
        assert (await ann.get("/"))[0] == 200
    sid, cookie = opened
    for method, body in (("GET", None), ("POST", b"3")):
        async with site.raw() as raw:
            gone = await raw.ask(f"{POLLING}&sid={sid}", method=method, body=body, Cookie=cookie)
            assert (gone.status, json.loads(gone.body)["code"]) == (400, 1)
    async with site.raw() as raw:
        gone = await raw.websocket(("Cookie", cookie), path=f"{WEBSOCKET}&sid={sid}")
        assert (gone.status, json.loads(gone.body)["code"]) == (400, 1)
    for _ in range(6):
        async with site.raw() as raw:
            assert (await raw.websocket()).status == 101
