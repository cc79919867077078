"""Old clients, old emitters and the Admin UI get an error that names the reason."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import pytest

from tests.support.browsers import PythonVisitor
from tests.support.raw import UPGRADE, Raw
from tests.support.redis_server import empty_redis, shared_server
from tests.support.site import serve
from tests.support.sites import sites, tabs_at
from tests.support.waiting import until

REASON = "client speaks Engine.IO 3 (socket.io-client 2.x); socket.io-client 3 or newer is needed"


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_the_log_names_the_release_of_an_old_client(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transport: str
) -> None:
    """It has one line each, at most five a second; the client gets Engine.IO's own error."""
    headers = UPGRADE.items() if transport == "websocket" else ()
    async with serve(tmp_path) as site:
        for _ in range(20):
            async with Raw(site.url) as raw:
                path = f"/socket.io/?EIO=3&transport={transport}"
                answer = await raw.ask(path, *headers)
                assert answer.status == 400
                assert answer.body == '{"code":5,"message":"Unsupported protocol version"}'
    lines = [message for message in caplog.messages if "EIO" in message or "Engine.IO" in message]
    assert REASON in lines[0]
    assert len(lines) < 20
    assert not any("\n" in line for line in lines)


async def test_the_log_quotes_an_unknown_revision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The revision is text of the client."""
    async with serve(tmp_path) as site:
        for query in ("EIO=5%0Aforged&transport=polling", "transport=polling"):
            async with Raw(site.url) as raw:
                await raw.ask(f"/socket.io/?{query}")
    quoted, missing = [message for message in caplog.messages if "Engine.IO" in message]
    assert r"client speaks Engine.IO '5\nforged', 4 is needed" in quoted
    assert "client names no revision of Engine.IO, EIO=4 is needed" in missing


class Burglar:
    """An object that runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("unpickled"),)  # type: ignore[return-value]


async def test_the_log_says_that_an_emitter_is_too_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It publishes pickled data, which is not unpickled; later messages are delivered."""
    monkeypatch.chdir(tmp_path)
    url = empty_redis()
    async with sites(tmp_path, url=url) as (one, two), PythonVisitor(one.url) as visitor:
        (tab,) = await tabs_at(visitor, one)
        with shared_server().client() as redis:
            for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
                message = {"method": "emit", "event": "old", "data": ["x"], "namespace": "/"}
                redis.publish("socketio", pickle.dumps(message, protocol))
            for _ in range(20):
                redis.publish("socketio", pickle.dumps(Burglar()))
        await two.services.socket_server.emit("new", "x")
        await until(lambda: tab.received)
        assert tab.received == [("new", ("x",))]
        assert not (tmp_path / "unpickled").exists()
        lines = [line for line in caplog.messages if "python-socketio older than 5.14" in line]
        assert 0 < len(lines) <= 2 * 2 * 5  # two processes, perhaps in two seconds


async def test_the_admin_ui_is_refused_with_an_error(tmp_path: Path) -> None:
    """The Admin UI has not replaced any method of python-engineio at that time."""
    from engineio.async_socket import AsyncSocket

    before = dict(vars(AsyncSocket))
    async with serve(tmp_path) as site:
        server = site.services.socket_server
        for options in ({}, {"auth": False, "mode": "production"}):
            with pytest.raises(NotImplementedError, match=r"Admin UI .* /metrics"):
                server.instrument(**options)
        await asyncio.sleep(0)
        assert "/admin" not in server.handlers
    assert dict(vars(AsyncSocket)) == before
