"""A SocketServer without sessions, on a free port, and the decorator that gives a test one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pytest
import socketio
import tornado.web
import uvloop

from app.transport import Listener, SocketHandler, SocketServer
from app.transport.http.dispatcher import Dispatcher
from app.transport.http.server import HttpServer
from tests.support.raw_websocket import HANDSHAKE, Response, WebSocket, request

LOOPS = MappingProxyType({"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop})


@dataclass(frozen=True)
class Settings:
    """Short times, so that tests are short."""

    ping_interval: float = 25.0
    ping_timeout: float = 20.0
    join_timeout: float = 10.0
    max_message_size: int = 100_000
    max_attachments: int = 10
    send_buffer: int = 200_000
    send_timeout: float = 10.0
    max_send_backlog: int = 64_000_000
    events_per_second: int = 0
    process_number: int = 7


class Echo(socketio.AsyncNamespace):
    """Answers as the server of the official protocol suites does."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        await self.emit("auth", auth or {}, to=sid)

    async def on_message(self, sid: str, *args: Any) -> None:
        await self.emit("message-back", args, to=sid)

    async def on_ack(self, sid: str, *args: Any) -> Any:
        return args

    async def on_fail(self, sid: str) -> None:
        raise RuntimeError("this handler fails")


@dataclass
class Server:
    """A running server at `port`, and the events of its connections."""

    sio: SocketServer
    port: int
    opened: list[str] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    upgraded: list[str] = field(default_factory=list)
    clients: list[WebSocket] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    async def request(self, method: str, query: str, body: bytes = b"", **headers: str) -> Response:
        return await request(self.port, method, query, body, tls=self.tls, **headers)

    async def handshake(self) -> str:
        """Open a polling connection and return its sid."""
        response = await self.request("GET", HANDSHAKE + "polling")
        assert response.status == 200, response
        sid: str = json.loads(response.body[1:])["sid"]
        return sid

    async def poll(self, sid: str) -> Response:
        return await self.request("GET", f"{HANDSHAKE}polling&sid={sid}")

    async def post(self, sid: str, body: bytes | str, **headers: str) -> Response:
        data = body.encode() if isinstance(body, str) else body
        return await self.request("POST", f"{HANDSHAKE}polling&sid={sid}", data, **headers)

    async def websocket(self, query: str = HANDSHAKE + "websocket", **headers: Any) -> WebSocket:
        early = headers.pop("early", b"")
        websocket = await WebSocket.connect(self.port, query, self.tls, early, **headers)
        self.clients.append(websocket)
        return websocket

    async def unjoined(self) -> WebSocket:
        """Open a WebSocket that has joined no namespace yet."""
        websocket = await self.websocket()
        websocket.sid = json.loads((await websocket.receive())[1:])["sid"]
        return websocket

    async def client(self, namespace: str = "/") -> WebSocket:
        """Open a WebSocket that has joined a namespace."""
        websocket = await self.unjoined()
        prefix = "" if namespace == "/" else namespace + ","
        await websocket.send("40" + prefix)
        assert (await websocket.receive()).startswith("40" + prefix)
        assert (await websocket.receive()).startswith("42")
        return websocket


def served(
    handler: type[SocketHandler] = SocketHandler,
    namespaces: tuple[type[socketio.AsyncNamespace], ...] = (Echo,),
    tls: bool = False,
    hosted_by: type[tornado.web.Application] = Dispatcher,
    both_loops: bool = False,
    **settings: Any,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run a coroutine test in a loop of its own with a server of its own, for 20 s at most.

    With `both_loops` it runs once on asyncio's loop and once on uvloop.
    """

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        def wrapped(loop: str = "asyncio", **arguments: Any) -> None:
            async def body() -> None:
                async with serve(handler, namespaces, tls, hosted_by, **settings) as server:
                    await test(server, **arguments)

            run(body(), loop=loop)

        wrapped.__name__, wrapped.__doc__ = test.__name__, test.__doc__
        parameters = list(inspect.signature(test).parameters.values())[1:]
        if both_loops:
            parameters.append(inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY))
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return pytest.mark.parametrize("loop", LOOPS)(wrapped) if both_loops else wrapped

    return decorate


def run(coroutine: Awaitable[None], timeout: float = 20, *, loop: str = "asyncio") -> None:
    """Run a test; an error that the loop reports fails it as an exception does."""
    errors: list[dict[str, Any]] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context))
        await asyncio.wait_for(coroutine, timeout)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(body())
    gc.collect()
    assert not errors, errors


@contextlib.asynccontextmanager
async def serve(
    handler: type[SocketHandler] = SocketHandler,
    namespaces: tuple[type[socketio.AsyncNamespace], ...] = (Echo,),
    tls: bool = False,
    hosted_by: type[tornado.web.Application] = Dispatcher,
    **settings: Any,
) -> AsyncIterator[Server]:
    opened: list[str] = []
    closed: list[tuple[str, str]] = []
    upgraded: list[str] = []
    listener = Listener(
        opened=lambda peer: opened.append(peer.eio_sid),
        closed=lambda peer, reason: closed.append((peer.eio_sid, reason)),
        upgraded=lambda peer: upgraded.append(peer.eio_sid),
    )
    sio = SocketServer(Settings(**settings), listener=listener)
    for index, namespace in enumerate(namespaces):
        sio.register_namespace(namespace("/" if index == 0 else "/custom"))
    sio.register_namespace(Echo("/other"))
    application = hosted_by([("/socket.io/", handler, {"engine": sio.engine})])
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    contexts = tls_contexts() if tls else (None, None)
    http = HttpServer(
        application,
        max_body_size=settings.get("max_message_size", 10**6),
        ssl=contexts[0],
        unflushed=sio.engine.unflushed,
    )
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    await http.listen(sockets)
    port = sockets[0].getsockname()[1]
    server = Server(sio, port, opened, closed, upgraded, tls=contexts[1])
    try:
        yield server
    finally:
        for websocket in server.clients:
            websocket.writer.transport.abort()
        await http.stop_listening()
        await sio.shutdown()
        await http.close(0.5)
        # uvloop's close() waits for sockets that still have something to send
        await sio.finish(0)
        await asyncio.sleep(0.01)


def tls_contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key", f"{folder}/certificate"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-days",
                "2",
                "-keyout",
                key,
                "-out",
                certificate,
            ],
            check=True,
            capture_output=True,
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certificate, key)
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client
