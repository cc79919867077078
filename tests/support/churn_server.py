"""A server that broadcasts every event and every departure to its clients.

    python -m tests.support.churn_server asyncio|uvloop FOLDER

It prints its URL, and stops when its standard input ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from pathlib import Path

from app.application import make_app
from app.settings import Settings
from tests.support.demo.session import BaseNamespace
from tests.support.socket_server import LOOPS


class Crowd(BaseNamespace):
    """Numbers its broadcasts, so that clients notice a gap."""

    told = 0

    async def tell(self, what: str) -> int:
        Crowd.told += 1
        number = Crowd.told
        await self.emit("told", [number, what])
        return number

    async def on_say(self, sid: str) -> int:
        return await self.tell("said")

    async def on_busy(self, sid: str) -> int:
        # so that clients leave in the turn of the loop in which others are told something
        time.sleep(0.03)
        return await self.tell("busy")

    async def on_disconnect(self, sid: str, reason: str) -> None:
        await self.tell("left")


namespaces = [("/", Crowd)]


async def main(folder: Path) -> None:
    settings = Settings(
        port=0,
        data_dir=folder,
        store="memory",
        handshakes_per_minute=0,
        max_connections_per_session=0,
        events_per_second=0,
        ping_interval=3,
        ping_timeout=5,
    )
    app = make_app(settings, modules=("tests.support.churn_server",))
    print(await app.start(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await app.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:
        runner.run(main(Path(sys.argv[2])))
