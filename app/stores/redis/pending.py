"""Commands that wait for a connection."""

from __future__ import annotations

import asyncio
from typing import Any

from app.stores.futures import resolve
from app.stores.redis.connection import Connection


class PendingCommands:
    """Holds the commands that are made while there is no connection, up to a deadline.

    After the deadline the waiting commands fail, and new ones fail at once.
    """

    def __init__(self) -> None:
        self._commands: list[tuple[bytes, asyncio.Future[Any], bool]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._accepting = True

    def add(self, command: bytes, change: bool = False) -> asyncio.Future[Any]:
        """Hold a packed command; the future fails with ConnectionError at the deadline."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._accepting:
            self._commands.append((command, future, change))
        else:
            resolve(future, ConnectionError("there is no connection"))
        return future

    def accept_for(self, seconds: float) -> None:
        """Set the deadline to this many seconds from now."""
        self._accepting = True
        self._cancel_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, self.fail)

    def send(self, connection: Connection) -> None:
        """Send the commands that still have a caller on a new connection."""
        self._cancel_deadline()
        commands, self._commands = self._commands, []
        for command, future, change in commands:
            if not future.done():
                connection.send(command, future, change)

    def fail(self) -> None:
        """Fail the waiting commands, and new ones until `accept_for`."""
        self._accepting = False
        self._cancel_deadline()
        commands, self._commands = self._commands, []
        for _, future, _ in commands:
            resolve(future, ConnectionError("there is no connection"))

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
