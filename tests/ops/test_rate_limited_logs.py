"""Clients can neither flood the log nor forge its lines."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from app.accounts import AccountsUnavailable
from tests.support.raw import POLLING, Raw
from tests.support.site import serve
from tests.support.watched_store import WatchedStore


@pytest.mark.parametrize("event", ['["nope"]', '["incr",1,2]'])
@pytest.mark.attack("A45")
async def test_bad_events_are_logged_a_few_times_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, event: str
) -> None:
    """Unknown events and wrong arguments are logged at most 5 times a second."""
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
@pytest.mark.attack("A45")
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


async def test_a_refusal_names_its_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log has the path without its query, which may hold a secret."""
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        assert (await raw.ask("/static/misspelt.js?v=secret")).status == 404
    (line,) = [message for message in caplog.messages if "404" in message]
    assert "GET '/static/misspelt.js': HTTP 404" in line
    assert "secret" not in line


async def test_an_outage_is_logged_a_few_times_a_second(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And not for each event and page that fails."""
    caplog.set_level(logging.INFO)
    store = WatchedStore()
    async with serve(tmp_path, store=store) as site, Raw(site.url) as raw:
        cookie = (await raw.websocket()).cookie
        raw.send("40")
        assert (await raw.receive() or "").startswith("0")
        assert (await raw.receive() or "").startswith("40")
        store.down = True
        for number in range(100):
            raw.send(f'42{number}["incr"]')
            assert "try again" in (await raw.receive() or "")
            async with Raw(site.url) as page:
                assert (await page.ask("/", ("Cookie", cookie))).status == 503
                assert (await page.ask(POLLING, ("Cookie", cookie))).status == 503
        store.down = False

        def no_answer() -> None:
            raise OperationalError("", None, Exception("no answer"))

        for _ in range(100):
            with pytest.raises(AccountsUnavailable):
                await site.services.accounts.calls.run(no_answer)
    assert any("event 'incr'" in message for message in caplog.messages)
    assert len(caplog.records) <= 40


@pytest.mark.parametrize("path", ["/static/..%2f", "/static/../"])
@pytest.mark.attack("A44")
async def test_a_path_cannot_forge_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """Tornado logs the name of a refused file, in which a client can escape any character."""
    caplog.set_level(logging.INFO)
    async with serve(tmp_path) as site, Raw(site.url) as raw:
        forged = "%0D%0A2026 INFO latchkey.audit: sign-in user=root%1B%5B31m%C2%85%E2%80%A8"
        answer = await raw.ask(path + forged.replace(" ", "%20"))
        assert answer.status == 403
    (line,) = [message for message in caplog.messages if "sign-in" in message]
    assert line.isascii()
    assert line.isprintable()
