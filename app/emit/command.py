"""The command `emit` of the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from app.emit.emission import InvalidEmission, read_emission
from app.ops.control import Command, CommandFailed


class Server(Protocol):
    """What sends events to sockets."""

    async def emit(
        self, event: str, data: Any = None, *, to: Any = None, namespace: str = "/"
    ) -> None:
        """Send an event to a room of a namespace, or to all of it."""


def emit_command(server: Server, exists: Callable[[str], bool]) -> Command:
    """Return the command, which emits by this server to a namespace that `exists`."""

    async def emit(arguments: Mapping[str, Any]) -> None:
        try:
            emission = read_emission(arguments)
        except InvalidEmission as error:
            raise CommandFailed(str(error)) from None
        if not exists(emission.namespace):
            raise CommandFailed(f"no module of handlers/ has the namespace {emission.namespace}")
        await server.emit(
            emission.event, emission.data, to=emission.target, namespace=emission.namespace
        )

    return emit
