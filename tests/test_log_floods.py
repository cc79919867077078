"""Clients cannot fill the disk by way of the log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.kit import serve
from tests.raw import POLLING, Raw


@pytest.mark.parametrize("event", ['["nope"]', '["incr",1,2]'])
async def test_bad_events_are_logged_a_few_times_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    """Unknown events and wrong arguments are a client's doing, and at most 5 a second are told."""
    caplog.set_level(logging.INFO)
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        assert (await raw.websocket()).status == 101
        raw.send("40")
        for number in range(200):
            raw.send(f"42{number}{event}")
        answers = 0
        while answers < 200:
            message = await raw.receive()
            assert message is not None
            answers += message.startswith("43")
        await asyncio.sleep(0)
    assert len(caplog.records) <= 20


@pytest.mark.parametrize("path", ["/incr", POLLING])
async def test_foreign_origins_are_logged_a_few_times_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """A refusal is one line, rate-limited."""
    caplog.set_level(logging.INFO)
    async with serve(tmp_path) as site:
        for _ in range(100):
            async with Raw(site.url) as raw:
                method = "GET" if path == POLLING else "POST"
                body = None if path == POLLING else b""
                answer = await raw.ask(path, ("Origin", "http://evil"), method=method, body=body)
                assert answer.status == 403
    assert len(caplog.records) <= 20
