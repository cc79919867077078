"""A client that sends any bytes, including those that no real client sends."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import struct
from urllib.parse import urlsplit

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(b"sixteen bytes ok").decode(),
}


class Answer:
    """The head of a response, and its body where it has a length."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    @property
    def cookie(self) -> str:
        """Return the name=value of the one cookie that was set, or an empty string."""
        found = self.all("Set-Cookie")
        assert len(found) <= 1, found
        return found[0].partition(";")[0] if found else ""


class Raw:
    """One TCP connection, or one of TLS; `async with` closes it."""

    def __init__(
        self, url: str, *, trust: ssl.SSLContext | None = None, source: str | None = None
    ) -> None:
        """`source` is the loopback address that it comes from."""
        parts = urlsplit(url)
        self._trust = trust
        self._source = (source, 0) if source else None
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.netloc = parts.netloc
        self.code = 0  # of the close frame that came

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection(
            self.host, self.port, ssl=self._trust, local_addr=self._source
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()

    async def ask(
        self,
        path: str,
        *headers: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
        **named: str,
    ) -> Answer:
        """Send a request and read its response; headers go out in the given order, bytes as is."""
        self.write(path, *headers, *named.items(), method=method, body=body)
        return await self.answer()

    def write(
        self,
        path: str,
        *headers: tuple[str, str],
        method: str = "GET",
        body: bytes | None = None,
    ) -> None:
        """Send a request without waiting for its response."""
        sent = [f"{method} {path} HTTP/1.1", f"Host: {self.netloc}"]
        sent += [f"{name}: {value}" for name, value in headers]
        if body is not None:
            sent.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*sent, "", ""]).encode("latin-1") + (body or b""))

    async def answer(self, seconds: float = 15) -> Answer:
        """Read one response; chunked ones are not understood."""
        return await asyncio.wait_for(self._answer(), seconds)

    async def _answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = []
        for line in head[1:]:
            if line:
                name, _, value = line.partition(":")
                headers.append((name.lower(), value.strip()))
        length = int(dict(headers).get("content-length", "0"))
        body = (await self.reader.readexactly(length)).decode()
        return Answer(int(head[0].split()[1]), headers, body)

    async def websocket(self, *headers: tuple[str, str], path: str = WEBSOCKET) -> Answer:
        """Ask for a WebSocket."""
        return await self.ask(path, *UPGRADE.items(), *headers)

    def send(self, text: str | bytes, *, opcode: int = 1) -> None:
        """Send one masked frame."""
        payload = text.encode() if isinstance(text, str) else text
        mask = os.urandom(4)
        if len(payload) < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload))
        elif len(payload) < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload))
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(payload))
        key = (mask * (len(payload) // 4 + 1))[: len(payload)]
        number = int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")
        masked = number.to_bytes(len(payload), "big")
        self.writer.write(head + mask + masked)

    async def receive(self) -> str | None:
        """Return the text of the next message; None: a close frame or the end of the stream."""
        try:
            first, second = await self.reader.readexactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        if first & 0x0F == 8:
            self.code = int.from_bytes(payload[:2], "big")
            return None
        return payload.decode()

    async def until_closed(self, seconds: float = 15) -> list[str]:
        """Return the messages that come until the server closes; fail if it stays open."""
        messages: list[str] = []

        async def read() -> None:
            while (message := await self.receive()) is not None:
                messages.append(message)

        await asyncio.wait_for(read(), seconds)
        return messages

    async def until_end(self, seconds: float = 15) -> None:
        """Wait until the server closes the TCP connection; fail if it stays open."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(self.reader.read(65536), seconds):
                pass
