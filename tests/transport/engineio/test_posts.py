"""POSTs and polls: memory while packets wait, and late bodies."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.process import process
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.waiting import until


async def test_a_post_of_many_packets_is_not_held_as_many_objects(tmp_path: Path) -> None:
    """It is answered at once, and its packets are handled at --events-per-second."""
    body = (b"40\x1e" + b"6a\x1e" * 333_000)[:999_998]
    async with process(tmp_path, "--store=memory") as running:
        status = Path(f"/proc/{running.process.pid}/status")

        def resident() -> float:
            line = next(line for line in status.read_text().splitlines() if "VmRSS" in line)
            return int(line.split()[1]) / 1024

        before = resident()
        raws = []
        for _ in range(10):
            raw = await Raw(running.url).__aenter__()
            raws.append(raw)
            shaken = await raw.ask(POLLING)
            path = f"{POLLING}&sid={json.loads(shaken.body[1:])['sid']}"
            raw.write(path, ("Cookie", shaken.cookie), method="POST", body=body)
            assert (await raw.answer()).status == 200
        grown = (resident() - before) / len(raws)
        for raw in raws:
            raw.writer.close()
        assert grown < 6, f"{grown:.0f} MB for a body of 1 MB"


async def test_a_body_after_the_close_joins_no_namespace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A CONNECT in it would leave a client in the rooms for ever, and a traceback in the log."""
    async with serve(tmp_path, join_timeout=0.2) as site:
        async with Raw(site.url) as raw:
            shaken = await raw.ask(POLLING)
            eio_sid = json.loads(shaken.body[1:])["sid"]
            cookie = ("Cookie", shaken.cookie)
            path = f"{POLLING}&sid={eio_sid}"
            raw.write(path, cookie, ("Content-Length", "2"), method="POST")
            await asyncio.sleep(0.05)
            async with Raw(site.url) as first, Raw(site.url) as second:
                first.write(path, cookie)
                await asyncio.sleep(0.05)
                assert (await second.ask(path, cookie)).status == 400  # two polls at once
            raw.writer.write(b"40")
            answer = await raw.answer()
        rooms = site.services.socket_server.manager
        assert not rooms.clients
        assert not rooms.rooms
        assert answer.status == 400
        assert not [record for record in caplog.records if record.exc_info]


async def test_a_poll_whose_body_comes_after_the_close_is_answered(tmp_path: Path) -> None:
    """It would wait for ever, because a closed connection wakes no poll."""
    async with serve(tmp_path, join_timeout=0.2) as site, Raw(site.url) as raw:
        shaken = await raw.ask(POLLING)
        path = f"{POLLING}&sid={json.loads(shaken.body[1:])['sid']}"
        raw.write(path, ("Cookie", shaken.cookie), ("Content-Length", "2"))
        await until(lambda: not site.services.connections)  # the join deadline
        raw.writer.write(b"xx")
        assert (await raw.answer(seconds=2)).status in (200, 400)
