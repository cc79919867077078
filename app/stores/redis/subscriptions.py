"""Published messages and who handles them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.common.log_and_continue import logged

log = logging.getLogger("latchkey.redis")

#: Called with the message; raises ValueError if it is not one of ours.
Handler = Callable[[bytes], None]


@dataclass(frozen=True)
class Subscriber:
    """What one part of the program wants to be told by the Redis client."""

    #: handlers by channel
    channels: Mapping[str, Handler] = field(default_factory=dict)
    #: called when a connection is ready; what it sends goes before all other commands
    connected: Callable[[], None] | None = None
    #: called when the connection is lost; messages published from then on are missed
    disconnected: Callable[[], None] | None = None


class Subscriptions:
    """The subscribers of one client."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._handlers: dict[bytes, Handler] = {}

    @property
    def channels(self) -> Collection[bytes]:
        return self._handlers.keys()

    def add(self, subscriber: Subscriber) -> list[bytes]:
        """Add one; return its channels, to which the connection has to subscribe."""
        handlers = {name.encode(): handler for name, handler in subscriber.channels.items()}
        self._handlers.update(handlers)
        self._subscribers.append(subscriber)
        return list(handlers)

    def connected(self) -> None:
        for subscriber in self._subscribers:
            if subscriber.connected is not None:
                with logged(log, "a listener to a new connection failed"):
                    subscriber.connected()

    def disconnected(self) -> None:
        for subscriber in self._subscribers:
            if subscriber.disconnected is not None:
                with logged(log, "a listener to a lost connection failed"):
                    subscriber.disconnected()

    def dispatch(self, push: list[Any]) -> None:
        """Pass a RESP3 push on to the handler of its channel."""
        if push[0] != b"message":
            return
        channel, message = push[1:]
        handler = self._handlers.get(channel)
        if handler is None:
            return
        try:
            handler(message)
        except (ValueError, RecursionError) as error:
            log.warning("dropped an invalid message on channel %s: %s", channel.decode(), error)
        except Exception:
            log.exception("a message on channel %s could not be handled", channel.decode())
