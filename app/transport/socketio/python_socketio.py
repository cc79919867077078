"""python-socketio without its Engine.IO server.

This is the only module of app/transport that knows python-socketio's private names. `setup.py`
allows the releases in `RANGE`, and `tests/transport/test_contract.py` checks that each name is
there. To allow another release, run that test with it, then widen both ranges.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, Protocol

import socketio

RANGE = ">=5.18,<5.19"
#: How the names of rooms begin that only the server lets clients enter and leave.
RESERVED_ROOMS = "latchkey:"


class Holder(Protocol):
    """What holds python-socketio's `session` of one connection."""

    session: dict[str, Any] | None


class EngineApi:
    """What python-socketio calls on python-engineio's server. It sends and receives nothing."""

    async_mode = "tornado"

    def __init__(self, find: Callable[[str], Holder]) -> None:
        """`find` returns the holder of an Engine.IO id; it raises KeyError."""
        self._find = find

    def on(self, event: str, handler: Callable[..., Any]) -> None:
        """Do nothing: `SocketServer` receives messages itself."""

    async def get_session(self, eio_sid: str) -> dict[str, Any]:
        holder = self._find(eio_sid)
        if holder.session is None:
            holder.session = {}
        return holder.session

    def create_event(self) -> asyncio.Event:
        return asyncio.Event()

    def start_background_task(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Future[Any]:
        return asyncio.ensure_future(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    async def handle_request(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("requests come in through app.transport.SocketHandler")


class Library(socketio.AsyncServer):
    """python-socketio's server: its handlers, namespaces, rooms and emits."""

    def __init__(self, api: EngineApi, **options: Any) -> None:
        self._api = api
        super().__init__(**options)

    def _engineio_server_class(self) -> Callable[..., EngineApi]:
        return lambda **options: self._api

    def trigger(self, event: str, namespace: str, *arguments: Any) -> Awaitable[Any]:
        """Call the handler of an event, with `not_handled` as the result if there is none."""
        handler = self.namespace_handlers.get(namespace)
        handled: Awaitable[Any]
        if handler is not None and not self.handlers:
            # what the rest would find, in a fifth of its time
            handled = handler.trigger_event(event, *arguments)
        else:
            handled = self._trigger_event(event, namespace, *arguments)
        return handled

    async def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Let a client enter a room; raises ValueError if that is one of the server's own."""
        await super().enter_room(sid, _checked(room), namespace)

    async def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """Let a client leave a room; raises ValueError if that is one of the server's own."""
        await super().leave_room(sid, _checked(room), namespace)

    async def close_room(self, room: Any, namespace: str | None = None) -> None:
        """Let all clients leave a room; raises ValueError if that is one of the server's own."""
        await super().close_room(_checked(room), namespace)


def _checked(room: Any) -> Any:
    """Return a room that is not one of the server's own; clients may have chosen its name."""
    if isinstance(room, str) and room.startswith(RESERVED_ROOMS):
        raise ValueError(
            f"rooms that begin with {RESERVED_ROOMS!r} are the server's own; choose another name"
        )
    return room


class LibraryManager(socketio.AsyncManager):
    """python-socketio's client manager."""

    def new_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        """Keep the callback of an emit; return the id that the client's ack will have."""
        raise NotImplementedError

    def _generate_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        return self.new_ack_id(sid, callback)
