"""Which namespaces a connection is in: its clients join, leave and are disconnected."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from socketio.exceptions import ConnectionRefusedError as Refused

from app.transport.engineio.close_reason import Reason
from app.transport.engineio.message import Message
from app.transport.socketio import packets
from app.transport.socketio.in_order import InOrder
from app.transport.socketio.joining import Joining
from app.transport.socketio.made_namespaces import MAX_NAMESPACES, MadeNamespaces
from app.transport.socketio.packets import PacketError
from app.transport.socketio.peer import Peer
from app.transport.socketio.rooms import Rooms
from app.transport.tasks import Tasks

log = logging.getLogger("app.transport")


class Server(Protocol):
    """What is asked of the Socket.IO server; much of it is python-socketio's."""

    manager: Rooms
    tasks: Tasks
    environ: dict[str, dict[str, Any]]
    handlers: Mapping[str, Any]
    namespace_handlers: Mapping[str, Any]
    namespaces: Any
    made: MadeNamespaces

    def forget(self, peer: Peer) -> None: ...
    def trigger(self, event: str, namespace: str, *arguments: Any) -> Awaitable[Any]: ...


class Membership:
    """Runs the connect and disconnect handlers, and keeps `Peer.clients` and the rooms."""

    def __init__(self, server: Server) -> None:
        self._server = server

    # Joining

    def connect(self, peer: Peer, namespace: str, auth: Any) -> None:
        """Act on a CONNECT packet of the client."""
        if namespace in peer.clients or namespace in peer.joining:
            self._leave_first(peer, namespace)
            if peer.connection.closed:  # by the disconnect handler
                return
        made = self._server.made
        if made.has(namespace) or not self._exists(namespace):
            if len(peer.clients) + len(peer.joining) >= MAX_NAMESPACES:
                self._refuse(peer, namespace, {"message": "Too many namespaces"})
                return
            if not made.open(namespace):
                self._refuse(peer, namespace, {"message": "Invalid namespace"})
                return
        joining = peer.joining[namespace] = Joining()
        peer.start(self._join(peer, namespace, auth, joining))

    def _exists(self, namespace: str) -> bool:
        server = self._server
        for registry in (server.handlers, server.namespace_handlers, server.namespaces):
            if namespace in registry or (namespace != "*" and "*" in registry):
                return True
        return False

    async def _join(self, peer: Peer, namespace: str, auth: Any, joining: Joining) -> None:
        """Run the connect handler; its verdict is the reply, before anything that it emitted."""
        server = self._server
        sid = joining.sid = await server.manager.pre_connect(peer.connection.sid, namespace)
        peer.registered += 1
        environ = server.environ[peer.connection.sid]
        refusal = await self._run_connect(namespace, sid, environ, auth)
        gone = peer.connection.closed or joining.left
        if not gone:
            del peer.joining[namespace]
        if refusal is not None:
            self._unregister(peer, namespace, sid)
            if not gone:
                self._refuse(peer, namespace, refusal)
        elif gone:  # while the handler ran; the disconnect handler undoes what it set up
            await self._run_disconnect(
                peer, namespace, sid, peer.connection.reason or Reason.CLIENT
            )
        else:
            await self._accept(peer, namespace, joining)

    async def _run_connect(
        self, namespace: str, sid: str, environ: dict[str, Any], auth: Any
    ) -> Any:
        """Return None, or what the CONNECT_ERROR has to say."""
        try:
            if auth:
                verdict = await self._server.trigger("connect", namespace, sid, environ, auth)
            else:
                verdict = await self._connect_without_auth(namespace, sid, environ)
        except Refused as refusal:
            return refusal.error_args
        except ConnectionRefusedError:
            return {"message": "Connection refused by server"}
        except Exception:
            log.exception("the connect handler of %r failed", namespace)
            verdict = False
        return Refused().error_args if verdict is False else None

    async def _connect_without_auth(self, namespace: str, *arguments: Any) -> Any:
        """Call a connect handler that may or may not take `auth`, as python-socketio does."""
        trigger = self._server.trigger
        try:
            return await trigger("connect", namespace, *arguments, None)
        except TypeError as first:
            try:
                return await trigger("connect", namespace, *arguments)
            except TypeError:
                raise first from None

    async def _accept(self, peer: Peer, namespace: str, joining: Joining) -> None:
        """Tell the client that it has joined, then send what its connect handler emitted."""
        sid = joining.sid
        await self._server.manager.connect(sid, namespace)
        peer.clients[namespace] = sid
        peer.update_join_timer()
        if self._is_ordered(namespace):
            peer.queues = peer.queues or {}
            peer.queues[namespace] = InOrder(self._server.tasks.start, peer.connection)
        peer.connection.send(packets.encode_connected(namespace, sid))
        for message in joining.messages:
            peer.connection.send(message)
        if joining.disconnected:
            self.disconnect(peer, namespace)

    def _is_ordered(self, namespace: str) -> bool:
        """Tell whether the events of each client in this namespace run one after the other."""
        registry = self._server.namespace_handlers
        return getattr(registry.get(namespace) or registry.get("*"), "ordered", False)

    def _refuse(self, peer: Peer, namespace: str, error: Any) -> None:
        peer.note_left(namespace)
        peer.connection.send(self._refusal(namespace, error))

    def _refusal(self, namespace: str, refusal: Any) -> Message:
        """Encode a CONNECT_ERROR; data that JSON cannot hold is logged and left out."""
        try:
            return packets.encode(packets.CONNECT_ERROR, namespace, None, refusal)
        except (TypeError, ValueError) as error:
            log.error("connect error of %r cannot be sent: %s", namespace, error)
            return packets.encode(packets.CONNECT_ERROR, namespace, None, Refused().error_args)

    # Leaving

    def leave(self, peer: Peer, namespace: str, reason: str) -> None:
        """Take a client out of its namespace, and start its disconnect handler."""
        sid = peer.clients.pop(namespace)
        queue = peer.queues.pop(namespace, None) if peer.queues else None
        manager = self._server.manager
        manager.pre_disconnect(sid, namespace)
        if not peer.connection.closed:
            manager.stop_delivery(sid)
            peer.note_left(namespace)
        peer.start(self._run_disconnect(peer, namespace, sid, reason), queue)

    def cancel_join(self, peer: Peer, namespace: str) -> None:
        """Let a client leave whose connect handler still runs; it gets no reply."""
        joining = peer.joining.pop(namespace)
        joining.left = True
        peer.note_left(namespace)
        self._server.manager.stop_delivery(joining.sid)

    def _leave_first(self, peer: Peer, namespace: str) -> None:
        """Let a client leave that sends a second CONNECT.

        The official client sends no DISCONNECT if it leaves before it has the reply to its first
        CONNECT. It does that on a connection of several namespaces only; with one it closes the
        connection.
        """
        if len(peer.clients) + len(peer.joining) < 2:
            raise PacketError("a second CONNECT")
        if namespace in peer.joining:
            self.cancel_join(peer, namespace)
        else:
            self.leave(peer, namespace, Reason.CLIENT)

    def disconnect(self, peer: Peer, namespace: str) -> None:
        """Send a DISCONNECT; close the connection if the client is in no other namespace."""
        peer.connection.send(packets.encode(packets.DISCONNECT, namespace))
        if len(peer.clients) == 1 and not peer.joining:
            peer.connection.close(Reason.SERVER)
        else:
            self.leave(peer, namespace, Reason.SERVER)

    async def _run_disconnect(self, peer: Peer, namespace: str, sid: str, reason: str) -> None:
        """Run the disconnect handler, then take the client out of its rooms."""
        try:
            await self._server.trigger("disconnect", namespace, sid, reason)
        except Exception:
            log.exception("the disconnect handler of %r failed", namespace)
        finally:
            peer.update_join_timer()
            self._unregister(peer, namespace, sid)

    def _unregister(self, peer: Peer, namespace: str, sid: str) -> None:
        """Forget a client; with the last one of a closed connection its data goes too."""
        self._server.manager.basic_disconnect(sid, namespace)
        self._server.made.release(namespace)
        peer.registered -= 1
        if peer.connection.closed and not peer.registered:
            self._server.forget(peer)
