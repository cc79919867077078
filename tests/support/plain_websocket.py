"""Plain WebSockets of a fork: Tornado's own handler, and `BaseWebSocket`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketHandler

from tests.support.demo.session import BaseWebSocket
from tests.support.fork import fork
from tests.support.site import Site, serve


class Echo(WebSocketHandler):
    """A handler that a fork may have written for Tornado's server."""

    closed: list[tuple[int | None, str | None]]
    sockets: list[WebSocketHandler]

    def initialize(self) -> None:
        self.sockets.append(self)

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return "two" if "two" in subprotocols else None

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self.get_query_argument("deflate", "") else None

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))
        if message == "close me":
            self.close(4000, "as you wish")

    def on_close(self) -> None:
        self.closed.append((self.close_code, self.close_reason))


class Counting(BaseWebSocket):
    """Counts its messages in the session."""

    async def receive(self, message: str | bytes) -> None:
        if message == "fail":
            raise ZeroDivisionError
        if message == "read":
            session = await self.session
            await self.write_message(f"{session.data.count} {session.user}")
            return
        async with self.session as data:
            data.count += 1
        await self.write_message(str(data.count))


class Members(Counting):
    login_required = True


@contextlib.asynccontextmanager
async def echo_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[tuple[Site, type[Echo]]]:
    class Own(Echo):
        closed: list[tuple[int | None, str | None]] = []
        sockets: list[WebSocketHandler] = []

    modules = fork(monkeypatch, routes=[("/echo", Own)])
    async with serve(tmp_path, modules=modules, **settings) as site:
        yield site, Own


@contextlib.asynccontextmanager
async def counting_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[Site]:
    routes = [("/count", Counting), ("/members", Members)]
    modules = fork(monkeypatch, routes=routes)
    async with serve(tmp_path, modules=modules, **settings) as site:
        yield site
