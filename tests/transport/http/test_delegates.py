"""Delegates of Tornado's HTTP interface, and what they learn about the connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tornado import httputil

from app.transport.http import writer as http_writer
from app.transport.http.client_address import UNIX_PEER
from tests.support.http_client import Client, request, status
from tests.support.http_site import http_site
from tests.support.waiting import until


class Recorder(httputil.HTTPServerConnectionDelegate, httputil.HTTPMessageDelegate):
    """Records the calls of a delegate; sends no response."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start_request(self, server_conn: object, request_conn: Any) -> Recorder:
        request_conn.set_close_callback(lambda: self.told.append("close callback"))
        return self

    def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> None:
        self.told.append("headers")

    def data_received(self, chunk: bytes) -> None:
        self.told.append(chunk.decode())

    def finish(self) -> None:
        self.told.append("finish")

    def on_connection_close(self) -> None:
        self.told.append("left")

    def on_close(self, server_conn: object) -> None:
        self.told.append("closed")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("ab", ["headers", "ab", "left", "closed"]),
        ("abc", ["headers", "abc", "finish", "close callback", "closed"]),
    ],
)
async def test_a_delegate_hears_once_that_its_connection_closed(
    body: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """on_connection_close() runs during the request, the close callback after it, as in Tornado."""
    # a client that has left looks half-closed at first
    monkeypatch.setattr(http_writer, "HALF_CLOSED_TIMEOUT", 0.1)
    async with http_site() as site:
        site.server.app = recorder = Recorder()
        client = await site.client()
        await client.send(request("/", "Content-Length: 3", method="POST", body=body))
        await until(lambda: body in recorder.told)
        await client.close()
        await until(lambda: "closed" in recorder.told)
        assert recorder.told == told


async def test_an_exception_in_a_delegate_gets_500(caplog: pytest.LogCaptureFixture) -> None:
    """The log has its traceback."""

    class Failing(Recorder):
        def headers_received(self, start_line: Any, headers: httputil.HTTPHeaders) -> None:
            raise ZeroDivisionError

    async with http_site() as site:
        site.server.app = Failing()
        assert status(await site.talk(request())) == 500
    assert "ZeroDivisionError" in caplog.text


async def test_the_context_has_the_address_and_scheme_of_the_peer() -> None:
    """The attributes are those of Tornado's context."""
    async with http_site() as site:
        client = await site.client()
        await until(lambda: site.server.connections)
        (connection,) = site.server.connections
        context = connection.context
        assert (context.remote_ip, context.protocol) == ("127.0.0.1", "http")
        assert context.address[0] == str(context) == "127.0.0.1"
        await client.close()


async def test_unix_sockets_are_served(tmp_path: Path) -> None:
    """The client of one has no address; Tornado would say 0.0.0.0."""
    import socket

    async with http_site() as site:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        await site.server.listen([listener])
        client = Client(*await asyncio.open_unix_connection(str(tmp_path / "s")))
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.response()
        assert {connection.context.remote_ip for connection in site.server.connections} == {
            UNIX_PEER
        }
        await client.close()
