"""A POST whose packets have to wait takes about the memory of its body."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.process import process
from tests.support.raw import POLLING, Raw


async def test_a_post_of_many_packets_is_not_held_as_many_objects(tmp_path: Path) -> None:
    """It is answered at once, and its packets are acted upon at --events-per-second."""
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
