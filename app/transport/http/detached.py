"""A connection that a handler has detached, as the stream that Tornado's WebSockets use."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from tornado.iostream import IOStream

from app.transport.tornado_private import fill_read_buffer


class DetachedStream(IOStream):
    """Tornado's IOStream over a connection that asyncio has accepted.

    The socket is duplicated, since asyncio and uvloop have no public way to give one back.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        received: bytes,
        *,
        on_closed: Callable[[DetachedStream], None],
    ) -> None:
        """Take over `transport`, with the bytes that were read from it; all is written to it.

        Raises NotImplementedError for a connection with TLS, OSError without descriptors.
        """
        if transport.get_extra_info("ssl_object") is not None:
            raise NotImplementedError("a connection with TLS cannot be detached; use a proxy")
        if transport.get_write_buffer_size():
            raise RuntimeError("a connection with an unsent response cannot be detached")
        accepted = transport.get_extra_info("socket")
        duplicate = socket.socket(fileno=os.dup(accepted.fileno()))
        transport.abort()  # closes its own descriptor, and leaves the connection open
        super().__init__(duplicate)
        fill_read_buffer(self, received)
        self._on_closed = on_closed
        #: Called when the server stops, to close what uses this stream.
        self.close_soon: Callable[[], None] | None = None

    def close_fd(self) -> None:
        super().close_fd()
        self._on_closed(self)
