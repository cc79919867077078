"""A client that answers its heartbeat lives, however much it is being sent meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kit import serve
from tests.raw import POLLING, Answer, Raw


@pytest.mark.parametrize("busy", [False, True])
async def test_a_pong_counts_though_another_message_waits_for_the_next_poll(
    tmp_path: Path, busy: bool
) -> None:
    """The pong answers a ping that was fetched; a message that came after it changes nothing."""
    async with serve(tmp_path, ping_interval=0.3, ping_timeout=0.6) as site:

        async def ask(path: str, method: str = "GET", body: bytes | None = None) -> Answer:
            async with Raw(site.url) as raw:
                return await raw.ask(path, cookie, method=method, body=body)

        async with Raw(site.url) as raw:
            shaken = await raw.ask(POLLING)
        cookie = ("Cookie", shaken.cookie)
        path = f"{POLLING}&sid={json.loads(shaken.body[1:])['sid']}"
        await ask(path, "POST", b"40")
        await ask(path)
        for _ in range(5):
            packets: list[str] = []
            while "2" not in packets:
                poll = await ask(path)
                assert poll.status == 200, poll.body
                packets = poll.body.split("\x1e")
                assert "1" not in packets, "closed, though every ping was answered"
            if busy:  # a page of the same session emits while the client is between two polls
                assert (await ask("/incr", "POST", b"")).status == 200
            answer = await ask(path, "POST", b"3")
            assert (answer.status, answer.body) == (200, "ok")


@pytest.mark.parametrize("event", ['421["incr"]', '421["whoami"]', '421["nope"]'])
async def test_a_pong_counts_though_it_comes_right_behind_an_event(
    tmp_path: Path, event: str
) -> None:
    """Of an event and a pong that are read at once, the ack still waits when the pong is seen."""
    async with serve(tmp_path, ping_interval=0.3, ping_timeout=0.3) as site, Raw(site.url) as raw:
        assert (await raw.websocket()).status == 101
        raw.send("40")
        pings = 0
        while pings < 4:
            message = await raw.receive()
            assert message is not None, "closed, though every ping was answered"
            if message == "2":
                pings += 1
                raw.send(event)
                raw.send("3")
