"""A client that sends any bytes to an HttpSite."""

from __future__ import annotations

import asyncio
import contextlib


class Client:
    """A connection that sends any bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            if not self.writer.transport.is_closing():
                self.writer.write(data)
                await self.writer.drain()

    async def rest(self, seconds: float = 15.0) -> bytes:
        """Return the bytes that come until the server closes or resets the connection."""
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(self.reader.read(65536), seconds):
                data += piece
        return data

    async def until(self, end: bytes, seconds: float = 15.0) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(end), seconds)

    async def response(self) -> tuple[bytes, bytes]:
        """Return the head and the body of a response with a Content-Length."""
        head = await self.until(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name.lower() == b"content-length":
                return head, await self.reader.readexactly(int(value))
        return head, b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def request(target: str = "/", *fields: str, method: str = "GET", body: str = "") -> bytes:
    """Return a request of HTTP/1.1 that closes its connection."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode("latin-1")


def status(answer: bytes) -> int:
    """Return the status of a response, 0 if there is none."""
    return int(answer[9:12]) if answer else 0
