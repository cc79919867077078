"""python-socketio's namespace with types, since that package has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import socketio

from app.transport import SocketServer

Sending = Coroutine[Any, Any, None]
#: A room's name, or the sid of a client, who is alone in that room.
Room = str | int
#: Who gets an event; None: all.
Recipients = Room | Collection[Room] | None


class TypedNamespace(socketio.AsyncNamespace):
    """What python-socketio's namespaces offer to their methods.

    `namespace` is this namespace unless another one is given.
    """

    namespace: str
    server: SocketServer

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Recipients = None,
        room: Recipients = None,
        skip_sid: Recipients = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> Sending:
        """Send an event to a client, a room, several of both, or all clients of the namespace.

        A tuple as `data` is several arguments. `callback` needs the sid of one client as `to`.
        """
        return self.server.emit(
            event, data, to, room, skip_sid, namespace or self.namespace, callback, ignore_queue
        )

    async def send(
        self,
        data: Any,
        to: Recipients = None,
        room: Recipients = None,
        skip_sid: Recipients = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """Send the event `message`."""
        await self.emit("message", data, to, room, skip_sid, namespace, callback, ignore_queue)

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # of python-socketio's API
        ignore_queue: bool = False,
    ) -> Any:
        """Send an event to one client and return its ack.

        Raises `socketio.exceptions.TimeoutError` after `timeout` seconds, 60 if it is None.
        """
        client, seconds = sid if to is None else to, 60 if timeout is None else timeout
        return await self.server.call(
            event,
            data,
            to=client,
            namespace=namespace or self.namespace,
            timeout=seconds,
            ignore_queue=ignore_queue,
        )

    async def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Let a client enter a room; raises ValueError if that is one of the server's own."""
        await self.server.enter_room(sid, room, namespace or self.namespace)

    async def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None:
        """Let a client leave a room."""
        await self.server.leave_room(sid, room, namespace or self.namespace)

    async def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Let all clients leave a room."""
        await self.server.close_room(room, namespace or self.namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[Room]:
        """Return the rooms of a client, its own and those of the server among them."""
        found: list[Room] = self.server.rooms(sid, namespace or self.namespace)
        return found

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """Return what `save_session` kept for this connection; the login is `session_for`."""
        kept: dict[str, Any] = await self.server.get_session(sid, namespace or self.namespace)
        return kept

    async def save_session(
        self, sid: str, session: dict[str, Any], namespace: str | None = None
    ) -> None:
        """Keep a dict for this connection, in this process, until it closes."""
        await self.server.save_session(sid, session, namespace or self.namespace)

    def session(
        self, sid: str, namespace: str | None = None
    ) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Open what `get_session` returns, and save it; the login is `session_for`."""
        opened: AbstractAsyncContextManager[dict[str, Any]] = self.server.session(
            sid, namespace or self.namespace
        )
        return opened

    async def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """Disconnect a client; `on_disconnect` is started and not waited for."""
        await self.server.disconnect(sid, namespace or self.namespace)
