"""TLS that Tornado itself terminates: its stream, dressed as an asyncio transport.

Behind a proxy this is not used: there the plain socket goes to the event loop's own transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from tornado.iostream import IOStream, StreamClosedError

READ_SIZE = 65536
_HIGH_WATER = 65536  # bytes, as in asyncio


class StreamTransport(asyncio.Transport):
    """Reads and writes a Tornado stream for a protocol; `first` is the read under way."""

    def __init__(
        self, stream: IOStream, protocol: asyncio.BufferedProtocol, first: Awaitable[bytes]
    ) -> None:
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._pending = 0  # bytes that the stream has not written yet
        self._congested = False
        self._closing = False
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._reader = asyncio.ensure_future(self._read(first))

    async def _read(self, first: Awaitable[bytes]) -> None:
        error: Exception | None = None
        try:
            while True:
                data = await first
                await self._may_read.wait()
                for at in range(0, len(data), READ_SIZE):
                    piece = data[at : at + READ_SIZE]
                    buffer = memoryview(self._protocol.get_buffer(len(piece)))
                    buffer[: len(piece)] = piece
                    self._protocol.buffer_updated(len(piece))
                first = self._stream.read_bytes(READ_SIZE, partial=True)
        except StreamClosedError as closed:
            error = closed.real_error  # type: ignore[assignment]
        finally:
            self._closing = True
            self._stream.close()
            self._protocol.connection_lost(error)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._stream.closed():
            return
        size = len(bytes(data))
        self._pending += size
        future = self._stream.write(bytes(data))
        future.add_done_callback(lambda done: self._written(done, size))
        if self._pending > _HIGH_WATER and not self._congested:
            self._congested = True
            self._protocol.pause_writing()

    def _written(self, done: asyncio.Future[None], size: int) -> None:
        done.exception()  # a closed stream shows in _read()
        self._pending -= size
        if self._congested and self._pending < _HIGH_WATER // 4:
            self._congested = False
            self._protocol.resume_writing()
        if self._closing and not self._pending:
            self._stream.close()

    def get_write_buffer_size(self) -> int:
        return self._pending

    def can_write_eof(self) -> bool:
        return False

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    def close(self) -> None:
        self._closing = True
        if not self._pending:
            self._stream.close()

    def abort(self) -> None:
        self._closing = True
        self._stream.close()
