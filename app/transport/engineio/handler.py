"""The Tornado handler of Engine.IO requests; it checks a request before it accepts it."""

from __future__ import annotations

import base64
import functools
import hashlib
import http
import json
import re
import types
from collections.abc import Mapping
from typing import Any, cast

from tornado.escape import parse_qs_bytes
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from app.transport.engineio.close_reason import Reason
from app.transport.engineio.connection import Connection
from app.transport.engineio.payload import Payload
from app.transport.engineio.polling import Polling
from app.transport.engineio.request_error import (
    BAD_METHOD,
    BAD_REQUEST,
    BAD_VERSION,
    FORBIDDEN,
    MESSAGES,
    UNKNOWN_TRANSPORT,
    RequestError,
    UnknownSid,
    old_client,
)
from app.transport.engineio.server import EngineServer
from app.transport.engineio.websocket import WebSocket
from app.transport.http.exchange import Exchange
from app.transport.tornado_private import finished, response_headers

#: Seconds for the body of a POST to arrive.
BODY_TIMEOUT = 20.0
#: Bytes beyond the limit that are read and dropped, so that the client is there for its 413.
DRAIN = 8_000_000
#: What is noted, as nginx does, where the client left before its answer.
CLIENT_LEFT = 499
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
# Kept out of the environ: they concern only the request that carried them.
_HOP_BY_HOP = frozenset({"Connection", "Upgrade", "Content-Length", "Content-Type", "Cookie"})


@functools.lru_cache(maxsize=256)  # of a WebSocket's handshake it is always the same
def _parameters(query: str) -> Mapping[str, str]:
    """Return the last value of each parameter in a query."""
    found = parse_qs_bytes(query, keep_blank_values=True)
    return types.MappingProxyType(
        {name: values[-1].decode("utf-8", "replace") for name, values in found.items()}
    )


@functools.lru_cache(maxsize=256)
def _environ_name(header: str) -> str:
    """Return WSGI's name of a header; an empty string for one that the environ leaves out."""
    if header in _HOP_BY_HOP or header.startswith("Sec-Websocket"):
        return ""
    return "HTTP_" + header.upper().replace("-", "_")


@stream_request_body
class SocketHandler(RequestHandler):
    """One request of Engine.IO: a handshake, a poll, a POST or an upgrade.

    A subclass overrides `check_request`, `authorize`, `environ` and `context`.
    """

    def initialize(self, engine: EngineServer) -> None:
        self.engine = engine
        self.connection: Connection | None = None
        self._parameters = _parameters(self.request.query)
        self._body = bytearray()
        self._posting = self._polling = False
        self._upgrades = self.request.headers.get("Upgrade", "").lower() == "websocket"
        if self.request.method == "GET" and self._query("sid"):
            # a poll may wait for long, so it ends with its client
            cast(Exchange, self.request.connection).answers_half_closed = False

    # To override

    def check_request(self) -> None:
        """Look at every request first of all; raise HTTPError to refuse it, or finish it."""

    async def authorize(self, eio_sid: str | None) -> None:
        """Look at a request that the protocol allows; `eio_sid` is None for a handshake.

        Raise HTTPError to refuse it, UnknownSid if this client may not use this id. Headers and
        cookies set here are on the polling response and on the 101 alike.
        """

    def environ(self) -> dict[str, Any]:
        """Return what the new connection keeps as its `environ`: plain strings only."""
        request = self.request
        environ = {
            "REQUEST_METHOD": request.method or "",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query,
            "REMOTE_ADDR": request.remote_ip or "",
            "wsgi.url_scheme": request.protocol,
        }
        for header, value in request.headers.items():
            if name := _environ_name(header):
                environ[name] = value
        cookies = request.headers.get_list("Cookie")
        if cookies:
            environ["HTTP_COOKIE"] = "; ".join(cookies)
        return environ

    def context(self) -> Any:
        """Return what the new connection keeps as its `context`, for the application."""
        return None

    # Before anything is accepted

    async def prepare(self) -> None:
        self._limit_body()
        self.check_request()
        if finished(self):
            return
        eio_sid = self._check_protocol()
        await self.authorize(eio_sid)
        if cast(Exchange, self.request.connection).closed:  # the client did not wait
            self.set_status(CLIENT_LEFT)
            self.finish()
        elif eio_sid is not None:
            self._find(eio_sid)  # again: the connection may have closed meanwhile
            if self.request.method == "POST":
                await self._begin_post()

    def _limit_body(self) -> None:
        exchange = cast(Exchange, self.request.connection)
        if exchange.body.done:
            return
        limit = self.engine.settings.max_message_size + DRAIN
        exchange.set_max_body_size(limit)
        exchange.set_body_timeout(BODY_TIMEOUT)
        length = exchange.head.length
        if length is not None and length > limit:
            raise HTTPError(413)

    def _check_protocol(self) -> str | None:
        """Apply the checks of Node's server in its order; return the connection's id."""
        transport = self._query("transport")
        if transport not in ("polling", "websocket"):
            raise RequestError(UNKNOWN_TRANSPORT)
        if self._query("j") is not None:  # JSONP
            raise RequestError(BAD_REQUEST)
        eio_sid = self._query("sid") or None
        if eio_sid is not None:
            self._find(eio_sid)
            if self.request.method not in ("GET", "POST"):
                raise RequestError(BAD_REQUEST)
        elif self.request.method != "GET":
            raise RequestError(BAD_METHOD)
        if self._upgrades != (transport == "websocket"):
            raise RequestError(BAD_REQUEST)
        connection = self.connection
        if (
            connection is not None
            and not self._upgrades
            and connection.transport.name == "websocket"
        ):
            raise RequestError(BAD_REQUEST)
        if eio_sid is None and self._query("EIO") != "4":
            raise RequestError(BAD_VERSION, old_client(self._query("EIO")))
        if self._upgrades:
            self._check_websocket()
        return eio_sid

    def _query(self, name: str) -> str | None:
        return self._parameters.get(name)

    def _find(self, eio_sid: str) -> None:
        self.connection = self.engine.connections.get(eio_sid)
        if self.connection is not None:
            self.connection.check_heartbeat()
            if self.connection.closed:
                self.connection = None
        if self.connection is None and not (
            self.request.method == "GET"
            and not self._upgrades
            and eio_sid in self.engine.last_polls
        ):
            raise UnknownSid

    def _check_websocket(self) -> None:
        """Apply RFC 6455, 4.2.1."""
        headers = self.request.headers
        connection = headers.get("Connection", "").lower()
        options = [option.strip(" \t") for option in connection.split(",")]
        valid = (
            self.request.method == "GET"
            and self.request.version == "HTTP/1.1"
            and "upgrade" in options
            and _KEY.fullmatch(headers.get("Sec-WebSocket-Key", ""))
        )
        if not valid or headers.get("Sec-WebSocket-Version") != "13":
            raise RequestError(BAD_REQUEST)

    # Accepted

    async def get(self) -> None:
        if self._upgrades:
            self._accept_websocket()
        elif self._query("sid"):
            await self._poll()
        else:
            polling = Polling(self.engine)  # pyright: ignore[reportArgumentType]
            connection = self.engine.open(polling, self.environ(), self.context())
            self._finish_poll(self.engine.handshake(connection, ["websocket"]))

    async def _poll(self) -> None:
        connection = self.connection
        if connection is None or connection.closed:
            payload = self.engine.last_polls.take(self._query("sid") or "")
            if payload is None:
                raise UnknownSid
            self._finish_poll(payload)
            return
        polling = connection.transport
        if not isinstance(polling, Polling):
            raise RequestError(BAD_REQUEST)
        if polling.polled:
            self.engine.complain(connection, "two polls at once")
            connection.close(Reason.TRANSPORT_ERROR)
            raise RequestError(BAD_REQUEST)
        self._polling = True
        exchange = cast(Exchange, self.request.connection)
        polling.polled_by(exchange)
        # otherwise a pipelined POST would wait for ever
        exchange.set_next_callback(polling.nudge)
        payload = await polling.poll(wait=not exchange.followed)
        self._polling = False
        if payload is None:
            raise RequestError(BAD_REQUEST)
        self._finish_poll(payload)

    def _finish_poll(self, payload: bytes) -> None:
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(payload)

    def _accept_websocket(self) -> None:
        key = self.request.headers["Sec-WebSocket-Key"].encode()
        # RFC 6455 asks for SHA-1, as a checksum
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        new = self.connection is None
        environ, context = (self.environ(), self.context()) if new else ({}, None)
        self.set_status(101)
        headers = response_headers(self)  # `set_header` would check these values
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        headers["Sec-WebSocket-Accept"] = accept.decode()
        self.finish()
        try:
            handover = cast(Exchange, self.request.connection).hand_over()
        except StreamClosedError:  # the client did not wait for its 101
            return
        websocket = WebSocket(self.engine, handover)
        if self.connection is not None:
            websocket.probe(self.connection)
            return
        connection = self.engine.open(websocket, environ, context)
        websocket.send(self.engine.handshake(connection, []))
        websocket.start()

    # POST

    async def _begin_post(self) -> None:
        """Wait for the packets of the previous POST, then let the body arrive."""
        connection = self.connection
        if connection is None:
            raise UnknownSid
        polling = connection.transport
        if not isinstance(polling, Polling):
            raise RequestError(BAD_REQUEST)
        octets = self.request.headers.get("Content-Type") == "application/octet-stream"
        if polling.posting or octets:
            self.engine.complain(connection, "two POSTs at once, or one of octets")
            connection.close(Reason.TRANSPORT_ERROR)
            raise RequestError(BAD_REQUEST)
        polling.posting = self._posting = True
        if connection.behind:
            await polling.room()
            if connection.closed:
                raise UnknownSid
            if connection.transport is not polling:
                raise RequestError(BAD_REQUEST)

    def data_received(self, chunk: bytes) -> None:
        if self._posting and len(self._body) <= self.engine.settings.max_message_size:
            self._body += chunk

    async def post(self) -> None:
        connection = self.connection
        if connection is not None and connection.unfinished is not None:
            await self.engine.turns.wait(connection.unfinished)
        if connection is None or connection.reason:  # it may have ended while the body came
            raise UnknownSid
        if len(self._body) > self.engine.settings.max_message_size:
            raise HTTPError(413)
        try:
            body = self._body.decode()
        except UnicodeDecodeError:
            body = ""
        self._body.clear()
        if not isinstance(connection.transport, Polling):
            raise RequestError(BAD_REQUEST)  # upgraded while the body came
        # the response does not wait for packets that have to wait
        connection.receive_all(Payload(body))
        if connection.reason == Reason.PARSE_ERROR:
            raise RequestError(BAD_REQUEST)
        self.set_header("Content-Type", "text/html")
        self.finish("ok")

    def on_finish(self) -> None:
        if self._posting and self.connection is not None:
            self._posting = False
            if isinstance(self.connection.transport, Polling):
                self.connection.transport.posting = False

    def on_connection_close(self) -> None:
        """The client hung up on a poll or a POST: as in Node's server, that ends it."""
        super().on_connection_close()
        if self.connection is not None and (self._posting or self._polling):
            self.connection.close(Reason.TRANSPORT_ERROR)

    # Tornado's own

    def set_default_headers(self) -> None:
        response_headers(self)["Cache-Control"] = "no-store"

    def compute_etag(self) -> None:
        """A poll has no ETag: a 304 would lose its packets."""

    def check_xsrf_cookie(self) -> None:
        """The official client sends no token; `check_request` looks at the Origin instead."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer as Node's server does: a code and its message as JSON, nothing on a 413."""
        error = kwargs.get("exc_info", (None, None))[1]
        if self.request.method != "HEAD":
            self.set_header("Connection", "close")
        if self._upgrades:
            self.set_header("Sec-WebSocket-Version", "13")
        if status_code == 413:
            self.finish()
            return
        code = error.code if isinstance(error, RequestError) else BAD_REQUEST
        message = MESSAGES[code]
        if status_code == 403:
            code, message = FORBIDDEN, MESSAGES[FORBIDDEN]
        elif status_code != 400:
            message = http.HTTPStatus(status_code).phrase
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"code": code, "message": message}, separators=(",", ":")))
