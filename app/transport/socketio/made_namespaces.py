"""Namespaces that are made when their first client asks for them, and dropped with their last."""

from __future__ import annotations

from typing import Any, Protocol

from app.transport.socketio.rooms import Rooms

#: Namespaces that one connection may be in, if it asks for one that has to be made.
MAX_NAMESPACES = 100


class Factory(Protocol):
    """Makes namespaces of names that nobody has registered."""

    def matches(self, name: str) -> bool:
        """Tell whether it makes namespaces of this name."""
        ...

    def make(self, name: str) -> Any:
        """Return a new namespace of this name, or None."""
        ...


class Server(Protocol):
    """What is asked of the Socket.IO server; most of it is python-socketio's."""

    manager: Rooms
    namespace_handlers: dict[str, Any]

    def register_namespace(self, namespace_handler: Any) -> None: ...


class MadeNamespaces:
    """Keeps what a factory made among the server's namespaces for as long as it has clients."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._open: set[str] = set()
        #: None: there are no namespaces but the registered ones.
        self.factory: Factory | None = None

    def has(self, name: str) -> bool:
        """Tell whether a namespace of this name was made and has clients."""
        return name in self._open

    def open(self, name: str) -> bool:
        """Make a namespace unless it was made; return whether there is one of this name."""
        if name in self._open:
            return True
        made = None if self.factory is None else self.factory.make(name)
        if made is None:
            return False
        self._server.register_namespace(made)
        self._open.add(name)
        return True

    def release(self, name: str) -> None:
        """Drop a namespace that was made and has no clients."""
        rooms = self._server.manager.rooms
        if name in self._open and not rooms.get(name):
            self._open.discard(name)
            rooms.pop(name, None)
            del self._server.namespace_handlers[name]

    def find(self, name: str) -> Any:
        """Return the namespace of this name, made anew if it has no clients; None: no such."""
        registered = self._server.namespace_handlers.get(name)
        if registered is None and self.factory is not None:
            registered = self.factory.make(name)
            if registered is not None:
                registered._set_server(self._server)
        return registered

    def exists(self, name: str) -> bool:
        """Tell whether clients can join a namespace of this name."""
        return name in self._server.namespace_handlers or (
            self.factory is not None and self.factory.matches(name)
        )
