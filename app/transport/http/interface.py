"""What the program asks of an HTTP server, so that another one could take the place of ours.

- `app/lifecycle.py` starts, drains and stops it: `WebServer`.
- Tornado's handlers need `tornado.httputil.HTTPConnection`, which `Exchange` is. The server calls
  `start_request` and `on_close` of the application (`HTTPServerConnectionDelegate`).
- `app/transport/engineio/handler.py` needs more of the connection: `SocketConnection`. On another
  server pages work, and `/socket.io/` does not.

`tests/transport/http/test_interface.py` serves the pages by `tornado.httpserver.HTTPServer`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Protocol

from app.transport.http.body import ChunkedBody, FixedBody
from app.transport.http.exchange import Handover
from app.transport.http.head import Head


class WebServer(Protocol):
    """A server of one Tornado application."""

    async def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections on these sockets."""

    def drain(self) -> None:
        """Go on serving; let each response be the last one on its connection."""

    async def stop_listening(self) -> None:
        """Accept no more connections."""

    async def close(self, seconds: float) -> bool:
        """Give the requests in hand so many seconds, then cut them off; return whether all ended.

        Detached connections, such as WebSockets, are closed too.
        """
        ...


class SocketConnection(Protocol):
    """What Engine.IO asks of a request's connection, beyond Tornado's interface."""

    head: Head  # its `length` decides on 413 before the body comes
    body: FixedBody | ChunkedBody  # `done` tells whether there is a body to come
    answers_half_closed: bool  # False ends a poll if its client shuts its side

    @property
    def closed(self) -> bool:
        """Whether the client has left."""
        ...

    @property
    def followed(self) -> bool:
        """Whether another request waits behind this one: a poll must end for it."""
        ...

    def set_next_callback(self, callback: Callable[[], None]) -> None:
        """Call this once when `followed` becomes true."""

    def untaken(self) -> int:
        """Return how many bytes of responses have not reached the client's machine."""
        ...

    def hand_over(self) -> Handover:
        """Let go of the connection, after a 101: the WebSocket is a protocol of asyncio."""
        ...
