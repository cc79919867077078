"""How `make_app` adds modules to an application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.application import make_app
from app.settings import Settings
from app.sockets.base_namespace import BaseNamespace
from app.stores.memory import MemoryStore
from tests.support.fork import fork
from tests.support.raw import POLLING, Raw


async def test_without_modules_an_application_has_the_socket_endpoint_only(tmp_path: Path) -> None:
    """Errors are text, because there are no templates."""
    app = make_app(Settings(port=0, data_dir=tmp_path / "data"), store=MemoryStore())
    url = await app.start()
    try:
        async with Raw(url) as raw:
            answer = await raw.ask("/", ("Accept", "text/html"))
            assert (answer.status, answer.body) == (404, "404: Not Found\n")
            assert answer.all("Content-Type") == ["text/plain; charset=UTF-8"]
        async with Raw(url) as raw:
            answer = await raw.ask("/", ("Accept", "application/json"))
            assert (answer.status, answer.body) == (404, '{"error": "Not Found"}')
        for path, status in (("/static/style.css", 404), (POLLING, 200)):
            async with Raw(url) as raw:
                assert (await raw.ask(path)).status == status, path
    finally:
        await app.stop()


async def test_two_modules_with_the_same_namespace_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is opened; the sentence names the second module."""

    class Room(BaseNamespace[Any]):
        pass

    *_, one = fork(monkeypatch, namespaces=[("/room", Room)])
    *_, two = fork(monkeypatch, namespaces=[("/room", Room)])
    settings = Settings(port=0, data_dir=tmp_path / "data")
    with pytest.raises(ValueError, match=f"{two}: another module has namespace /room"):
        make_app(settings, modules=(one, two), store=MemoryStore())
    assert not settings.data_dir.exists()
