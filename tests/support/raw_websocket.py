"""HTTP requests and WebSockets that send exactly the given bytes."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from app.transport.engineio.frames import encode_close

HANDSHAKE = "/socket.io/?EIO=4&transport="
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


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
    """The server refused the upgrade: it sent no 101."""

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
        """Return whether no data arrives for a while."""
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
    if any(key):
        payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return head + key + payload


def mask(unmasked: bytes) -> bytes:
    """Turn a short server frame into a client's."""
    return frame(unmasked[0], unmasked[2:])


def random_key() -> str:
    return base64.b64encode(os.urandom(16)).decode()
