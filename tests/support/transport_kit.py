"""Clients that send exactly the bytes they are told to, and a server for them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import inspect
import json
import logging
import os
import socket
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

from app.transport import SocketHandler, SocketServer
from app.transport.engineio.frames import encode_close
from app.transport.http.dispatcher import Dispatcher
from app.transport.http.server import HttpServer

LOOPS = MappingProxyType({"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop})
HANDSHAKE = "/socket.io/?EIO=4&transport="
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


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
    """A running server: `sio` to look into, `port` to knock on."""

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
        return json.loads(response.body[1:])["sid"]

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

    async def client(self, namespace: str = "/") -> WebSocket:
        """Open a WebSocket that has joined a namespace."""
        websocket = await self.websocket()
        websocket.sid = json.loads((await websocket.receive())[1:])["sid"]
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
    """Run a test; what a loop complains about fails it as an exception does."""
    complaints: list[dict[str, Any]] = []

    async def body() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        await asyncio.wait_for(coroutine, timeout)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(body())
    gc.collect()
    assert not complaints, complaints


@contextlib.asynccontextmanager
async def serve(
    handler: type[SocketHandler] = SocketHandler,
    namespaces: tuple[type[socketio.AsyncNamespace], ...] = (Echo,),
    tls: bool = False,
    hosted_by: type[tornado.web.Application] = Dispatcher,
    **settings: Any,
) -> AsyncIterator[Server]:
    sio = SocketServer(Settings(**settings))
    for index, namespace in enumerate(namespaces):
        sio.register_namespace(namespace("/" if index == 0 else "/custom"))
    sio.register_namespace(Echo("/other"))
    application = hosted_by([("/socket.io/", handler, {"server": sio})])
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    contexts = tls_contexts() if tls else (None, None)
    http = HttpServer(
        application, max_body_size=settings.get("max_message_size", 10**6), ssl=contexts[0]
    )
    sockets = tornado.netutil.bind_sockets(0, "127.0.0.1")
    await http.listen(sockets)
    server = Server(sio, sockets[0].getsockname()[1], tls=contexts[1])
    sio.opened = lambda sid, environ: server.opened.append(sid)
    sio.closed = lambda sid, reason: server.closed.append((sid, reason))
    sio.upgraded = server.upgraded.append
    try:
        yield server
    finally:
        for websocket in server.clients:
            websocket.writer.transport.abort()
        await http.stop_listening()
        await sio.shutdown()
        await http.close(0.5)
        # uvloop's close() waits for sockets that still have something to send
        await sio.eio.finish(0)
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


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Response:
    """Send one HTTP request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
        if body and not {"Transfer_Encoding", "Content_Length"} & headers.keys():
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return await read_response(reader)
    finally:
        writer.close()


async def read_response(reader: asyncio.StreamReader) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in fields}
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += (await reader.readexactly(size + 2))[:-2]
    return Response(int(head[0].split()[1]), headers, body)


@dataclass
class Closed:
    """The end of a WebSocket: its close code, None if there was no close frame."""

    code: int | None


class RefusedError(Exception):
    """No 101."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response


class WebSocket:
    """A client that masks with zeros, so that a frame's bytes are the packet's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.response = Response(0, {}, b"")
        self.sid = ""

    @classmethod
    async def connect(
        cls,
        port: int,
        query: str = HANDSHAKE + "websocket",
        tls: ssl.SSLContext | None = None,
        early: bytes = b"",
        **headers: str,
    ) -> WebSocket:
        """Ask for the upgrade; `early` is sent along, before the 101 has come."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        fields = {
            "Host": "localhost",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": KEY,
            "Sec-WebSocket-Version": "13",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        lines = [f"GET {query} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items() if v), "", ""]
        writer.write("\r\n".join(lines).encode() + early)
        websocket = cls(reader, writer)
        websocket.response = await read_response(reader)
        if websocket.response.status != 101:
            websocket.gone = await reader.read() == b""  # type: ignore[attr-defined]
            writer.close()
            raise RefusedError(websocket.response)
        return websocket

    async def send(self, *packets: str | bytes) -> None:
        """Send packets in one write."""
        self.writer.write(
            b"".join(
                frame(0x81, packet.encode()) if isinstance(packet, str) else frame(0x82, packet)
                for packet in packets
            )
        )
        await self.writer.drain()

    async def send_raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive(self) -> Any:
        """Return the next message, `Closed` at the end; fragments are not expected."""
        opcode, payload = await self.receive_frame()
        if opcode == 0x1:
            return payload.decode()
        if opcode == 0x2:
            return payload
        if opcode == 0x8:
            return Closed(int.from_bytes(payload, "big") if payload else None)
        if opcode == -1:
            return Closed(None)
        return opcode, payload

    async def receive_frame(self) -> tuple[int, bytes]:
        try:
            first, size = await self.reader.readexactly(2)
            assert not size & 0x80, "a server must not mask"
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0x0F, await self.reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return -1, b""

    async def closed(self) -> Closed:
        """Read until the end and return it."""
        while True:
            message = await self.receive()
            if isinstance(message, Closed):
                return message

    async def quiet(self, seconds: float = 0.05) -> bool:
        """Tell whether nothing comes for a while."""
        try:
            await asyncio.wait_for(self.reader.readexactly(1), seconds)
        except TimeoutError:
            return True
        except asyncio.IncompleteReadError:
            pass
        return False

    async def leave(self) -> None:
        """Close as a browser does."""
        await self.send_raw(mask(encode_close(1000)))
        self.writer.close()


def plain_client(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """Join "/" with a blocking socket, which sends and closes without a turn of the loop.

    `receive_buffer` is how many bytes its kernel takes before the server's buffers fill.
    """
    plain = socket.socket()
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.connect(("127.0.0.1", port))
    plain.sendall(
        f"GET {HANDSHAKE}websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        + frame(0x81, b"40")
    )
    return plain


def frame(first: int, payload: bytes, key: bytes = b"\0\0\0\0") -> bytes:
    """Return a masked frame; `first` is its whole first byte."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def mask(unmasked: bytes) -> bytes:
    """Turn a short server frame into a client's."""
    return frame(unmasked[0], unmasked[2:])


def random_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()
