"""The handlers of events, and the acks that they return."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Protocol

from app.transport.socketio import packets
from app.transport.socketio.packets import Packet
from app.transport.socketio.peer import Peer
from app.transport.socketio.rooms import Rooms

log = logging.getLogger("app.transport")

_Work = Coroutine[Any, Any, None]
#: Returns the work on an event with something around it: namespace object, sid, event, work.
Around = Callable[[Any, str, str, _Work], _Work]


class Server(Protocol):
    """What is asked of the Socket.IO server; most of it is python-socketio's."""

    manager: Rooms
    handlers: Mapping[str, Any]
    namespace_handlers: Mapping[str, Any]
    not_handled: object

    def trigger(self, event: str, namespace: str, *arguments: Any) -> Awaitable[Any]: ...


def _internal_error() -> dict[str, str]:
    """Return the ack of an event that failed."""
    return {"error": "internal error"}


class Events:
    """Starts a handler for each event and each ack of a client."""

    def __init__(
        self, server: Server, failed: Callable[[], None], around: Around | None = None
    ) -> None:
        """`failed` is called for a handler that raised or an ack that could not be sent.

        `around` wraps the work on each event of a namespace object.
        """
        self._server = server
        self._failed = failed
        self._around = around

    def event(self, peer: Peer, sid: str, packet: Packet) -> None:
        """Act on an event of a client; its handler runs at once, or in its turn."""
        namespace = packet.namespace
        handling = self._handle(peer, namespace, sid, packet.id, packet.data)
        if self._around is not None:
            handler = self._server.namespace_handlers.get(namespace)
            if handler is not None:
                handling = self._around(handler, sid, packet.data[0], handling)
        queue = peer.queues.get(namespace) if peer.queues else None
        peer.start(handling, queue, packet.size)

    def ack(self, peer: Peer, sid: str, packet: Packet) -> None:
        """Act on an ack of a client; ignore it if the server did not ask for one."""
        if packet.id in self._server.manager.callbacks.get(sid, ()):
            peer.start(self._acknowledged(sid, packet.id, packet.data))

    async def _handle(
        self, peer: Peer, namespace: str, sid: str, id: int | None, data: list[Any]
    ) -> None:
        """Run the handler of one event, then send its result as the ack."""
        server = self._server
        try:
            handler = server.namespace_handlers.get(namespace)
            if handler is not None and not server.handlers:
                data.insert(1, sid)
                result = await handler.trigger_event(*data)
            else:
                result = await server.trigger(data[0], namespace, sid, *data[1:])
        except Exception:
            log.exception("the handler of an event in %r failed", namespace)
            self._failed()
            result = _internal_error()
        if id is None or result is server.not_handled or peer.connection.closed:
            return
        answer = [] if result is None else result if type(result) is tuple else [result]
        try:
            packet = packets.encode_ack(namespace, id, answer)
        except Exception as error:
            event = data[0][:100]
            log.error("the ack of event %r in %r cannot be sent: %s", event, namespace, error)
            self._failed()
            packet = packets.encode_ack(namespace, id, [_internal_error()])
        peer.connection.send(packet)

    async def _acknowledged(self, sid: str, id: int | None, data: list[Any]) -> None:
        try:
            await self._server.manager.trigger_callback(sid, id, data)
        except Exception:
            log.exception("the callback of an acknowledged event failed")
