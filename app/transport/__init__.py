"""Engine.IO and Socket.IO on Tornado, over the stock driver of python-engineio."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import socketio
import tornado.web
from engineio.async_drivers import tornado as driver

_RESERVED = frozenset({"connect", "disconnect", "connect_error", "*"})


class UnknownSid(Exception):
    """This request may not use this Engine.IO id, or there is none of it."""


class SocketServer(socketio.AsyncServer):
    """A Socket.IO server that tells of its connections and can close their transports."""

    def __init__(self, settings: Any, *, client_manager: Any = None) -> None:
        super().__init__(
            client_manager=client_manager,
            async_mode="tornado",
            ping_interval=settings.ping_interval,
            ping_timeout=settings.ping_timeout,
            max_http_buffer_size=settings.max_message_size,
            cors_allowed_origins=[],
            logger=False,
            engineio_logger=False,
        )
        self.opened: Callable[[str, dict[str, Any]], None] = lambda eio_sid, environ: None
        self.closed: Callable[[str, str], None] = lambda eio_sid, reason: None
        self.upgraded: Callable[[str], None] = lambda eio_sid: None
        self.eio._async = {
            **self.eio._async,
            "translate_request": lambda handler: {
                **driver.translate_request(handler),
                **(handler.environ() if handler.get_query_argument("sid", None) is None else {}),
            },
        }

    async def _handle_eio_connect(self, eio_sid: str, environ: dict[str, Any]) -> Any:
        await super()._handle_eio_connect(eio_sid, environ)
        self.opened(eio_sid, environ)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        await super()._handle_eio_disconnect(eio_sid, reason)
        self.closed(eio_sid, reason)

    async def _handle_event(self, eio_sid: str, namespace: str, id: Any, data: Any) -> None:
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            return
        if data[0] not in _RESERVED:
            await super()._handle_event(eio_sid, namespace, id, data)

    async def close_connection(
        self, eio_sid: str, *, disconnect: bool = False, reason: str = "server disconnect"
    ) -> None:
        if disconnect:
            for namespace in list(self.manager.get_namespaces()):
                sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
                if sid is not None:
                    await self.disconnect(sid, namespace=namespace)
        connection = self.eio.sockets.get(eio_sid)
        if connection is not None:
            await connection.close(wait=False, reason=reason)
            connection.queue.put_nowait(None)

    def transport(self, eio_sid: str) -> str:
        return str(self.eio.transport(eio_sid))


class _Handler(tornado.web.RequestHandler):
    """Gives the stock driver's handler our order: check, then authorize, then accept."""

    async def prepare(self) -> None:
        self.check_request()
        eio_sid = self.get_query_argument("sid", None)
        transport = self.get_query_argument("transport", "polling")
        if eio_sid is None and (
            self.get_query_argument("EIO", "") != "4" or transport not in ("polling", "websocket")
        ):
            self._refuse(5, "Unsupported protocol version")
            return
        if self.request.method == "OPTIONS":
            return
        try:
            await self.authorize(eio_sid)
        except UnknownSid:
            self._refuse(1, "Session ID unknown")

    def _refuse(self, code: int, message: str) -> None:
        self.set_status(400)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"code": code, "message": message}))

    def check_request(self) -> None:
        """Raise HTTPError for a request that must not come from where it comes from."""

    async def authorize(self, eio_sid: str | None) -> None:
        """Raise HTTPError or UnknownSid for a request that must not be served."""

    def environ(self) -> dict[str, Any]:
        return {"REMOTE_ADDR": self.request.remote_ip, "wsgi.url_scheme": self.request.protocol}


class SocketHandler(_Handler, tornado.web.RequestHandler):
    """Made by `socket_handler` for one server."""


def socket_handler(base: type[SocketHandler], server: SocketServer) -> type[SocketHandler]:
    """Return a handler class that serves `server` by the stock driver."""
    stock = driver.get_tornado_handler(server.eio)
    return type(base.__name__, (base, stock), {})
