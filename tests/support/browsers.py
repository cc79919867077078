"""Browsers made of either Socket.IO client: pages and sockets with one cookie jar."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.node_client import NodeSocket, NodeVisitor
from tests.support.visitor import Visitor
from tests.support.waiting import until

CLIENTS = ("official", "python")
MODES = {"polling": ("polling",), "websocket": ("websocket",), "upgraded": ()}

each_client = pytest.mark.parametrize("client", CLIENTS)
each_mode = pytest.mark.parametrize("mode", list(MODES))
each_transport = pytest.mark.parametrize("transport", ["polling", "websocket"])


#: The browser with python-socketio's client.
PythonVisitor = Visitor


def browser(client: str, url: str) -> Visitor:
    """Return a browser that uses this Socket.IO client."""
    return NodeVisitor(url) if client == "official" else PythonVisitor(url)


async def joined(visitor: Visitor, mode: str, **options: Any) -> Any:
    """Connect by this mode and wait until the client has the transport that it names."""
    socket: Any = await visitor.socket(*MODES[mode], **options)
    wanted = "polling" if mode == "polling" else "websocket"
    if isinstance(socket, NodeSocket):
        await until(lambda: socket.transports[-1:] == [wanted])
    else:
        assert socket.transport == wanted
    return socket


def session_id(cookie: str) -> str:
    """Return the session id in a `name=value` cookie."""
    return cookie.partition("=")[2].partition(".")[0]


def ended(socket: Any, namespace: str = "/") -> list[dict[str, Any]]:
    """Return the arguments of each `session ended` event that this socket received."""
    return [args[0] for name, args in socket.events(namespace) if name == "session ended"]
