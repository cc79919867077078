"""A visitor's Socket.IO connection: python-socketio's client, with what it received."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import aiohttp
import socketio
from socketio.exceptions import ConnectionError as NotConnected

T = TypeVar("T")

#: Seconds that a test waits for what it names.
TIMEOUT = 10.0
_MAX_SHOWN = 10  # events in the message of a failure

Event = tuple[str, tuple[Any, ...]]


class NotReceived(AssertionError):
    """What the test waited for did not come; the message says what came instead."""


class SocketRefused(Exception):
    """The server refused the connection, or a namespace of it."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        #: the sentence of the server, such as "unauthorized"
        self.message = message
        #: what the server sent with it
        self.data = data


class Socket:
    """A connection of a visitor in one namespace or several. `visitor.socket()` makes one."""

    def __init__(
        self, http: aiohttp.ClientSession, namespaces: Sequence[str], *, reconnection: bool = False
    ) -> None:
        """`namespaces` are joined by `connect`; methods use the first one unless told another."""
        self.client = socketio.AsyncClient(
            http_session=http,
            reconnection=reconnection,
            reconnection_delay=0.1,
            reconnection_delay_max=0.2,
        )
        self.namespace = namespaces[0]
        #: how often the first namespace was joined; more than once only with `reconnection`
        self.connects = 0
        #: what the server said when the session ended: whether the client is welcome back
        self.may_reconnect: bool | None = None
        self._namespaces = namespaces
        self._received: dict[str, list[Event]] = {namespace: [] for namespace in namespaces}
        self._taken: Counter[tuple[str, str]] = Counter()  # events that `event` has returned
        self._ends: dict[str, str] = {}  # why a namespace was left, by its name
        self._refusal: SocketRefused | None = None
        self._news = asyncio.Event()
        self._replies: dict[tuple[str, str], Callable[..., Any]] = {}
        # of each namespace, so that a test may add handlers to `client` beside these
        for name in namespaces:
            self.client.on("*", partial(self._note, name), namespace=name)
            self.client.on("connect", partial(self._connected, name), namespace=name)
            self.client.on("connect_error", self._refused, namespace=name)
            self.client.on("disconnect", partial(self._disconnected, name), namespace=name)

    # -- what came --

    @property
    def received(self) -> list[Event]:
        """All events of the first namespace so far, as (name, arguments)."""
        return self.events()

    def events(self, namespace: str | None = None) -> list[Event]:
        """Return all events of a namespace so far, as (name, arguments)."""
        return self._received.setdefault(namespace or self.namespace, [])

    async def event(
        self, name: str, *, namespace: str | None = None, timeout: float = TIMEOUT
    ) -> Any:
        """Wait for the next event of this name, and return its data.

        Each call returns the event after the one before, in the order of the server. Several
        arguments come as a tuple, none as None. Raises NotReceived.
        """
        space = namespace or self.namespace

        def find() -> tuple[Any, ...] | None:
            found = [args for event, args in self.events(space) if event == name]
            taken = self._taken[space, name]
            return found[taken] if len(found) > taken else None

        args = await self._wait(find, f"event {name!r}", space, timeout)
        self._taken[space, name] += 1
        return _plain(args)

    async def ended(self, *, namespace: str | None = None, timeout: float = TIMEOUT) -> str:
        """Wait until the client has left a namespace, as it does when the connection ends.

        Returns why.

        The reason of a session's end is that of `EndReason`: logout, idle, expired, revoked,
        regenerated. Any other is the client's: "server disconnect", "transport close".
        """
        space = namespace or self.namespace
        return await self._wait(lambda: self._ends.get(space), "end of the socket", space, timeout)

    # -- what is sent --

    async def emit(self, event: str, *args: Any, namespace: str | None = None) -> None:
        """Send an event, and ask for no ack."""
        await self.client.emit(event, args, namespace=namespace or self.namespace)

    async def call(
        self, event: str, *args: Any, namespace: str | None = None, timeout: float = TIMEOUT
    ) -> Any:
        """Send an event and return its ack, as `event` returns data. Raises NotReceived."""
        space, acks = namespace or self.namespace, list[tuple[Any, ...]]()

        def acked(*values: Any) -> None:
            acks.append(values)
            self._news.set()

        await self.client.emit(event, args, namespace=space, callback=acked)
        what = f"ack of {event!r}"
        return _plain(await self._wait(lambda: acks[0] if acks else None, what, space, timeout))

    def answer(
        self, event: str, reply: Callable[..., Any], *, namespace: str | None = None
    ) -> None:
        """Ack an event of the server with what `reply` returns for its arguments."""
        self._replies[namespace or self.namespace, event] = reply

    # -- open and close --

    @property
    def transport(self) -> str:
        """The transport in use, "polling" or "websocket"."""
        return str(self.client.transport())

    async def connect(self, url: str, **options: Any) -> None:
        """Connect and join the namespaces; raises SocketRefused."""
        try:
            await self.client.connect(url, namespaces=list(self._namespaces), **options)
        except NotConnected as error:
            raise self._refusal or SocketRefused(str(error)) from None

    async def close(self) -> None:
        """Disconnect, as a page does that its user leaves."""
        # the client waits for its last poll, which a server may leave unanswered
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leave(), 3)

    async def _leave(self) -> None:
        await self.client.shutdown()
        if self.client.connected:  # it was about to have connected again
            await self.client.disconnect()

    # -- called by the client --

    def _note(self, namespace: str, event: str, *args: Any) -> Any:
        if event == "session ended" and args and isinstance(args[0], dict):
            self._why, self.may_reconnect = str(args[0]["reason"]), args[0]["reconnect"]
        self.events(namespace).append((event, args))
        self._news.set()
        reply = self._replies.get((namespace, event))
        return None if reply is None else reply(*args)

    _why: str | None = None  # reason of the end of the session

    def _connected(self, namespace: str) -> None:
        self._ends.pop(namespace, None)
        if namespace == self.namespace:
            self.connects += 1
            self._why = self.may_reconnect = None
        self._news.set()

    def _refused(self, data: Any = None, *more: Any) -> None:
        if isinstance(data, dict) and "message" in data:
            self._refusal = SocketRefused(str(data["message"]), data.get("data"))
        else:
            self._refusal = SocketRefused(str(data), data)

    def _disconnected(self, namespace: str, reason: str = "") -> None:
        self._ends[namespace] = self._why or reason
        self._news.set()

    # -- waiting --

    async def _wait(
        self, find: Callable[[], T | None], what: str, namespace: str, seconds: float
    ) -> T:
        """Return what `find` returns once it is not None.

        Fails after `seconds`, or when the client has left the namespace.
        """
        try:
            async with asyncio.timeout(seconds):
                while (found := find()) is None:
                    if (end := self._ends.get(namespace)) is not None:
                        raise NotReceived(f"no {what}: the socket ended ({end}); {self._all()}")
                    self._news.clear()
                    await self._news.wait()
                return found
        except TimeoutError:
            raise NotReceived(f"no {what} within {seconds:g} s; {self._all()}") from None

    def _all(self) -> str:
        """Describe what was received, for the message of a failure."""
        shown = [
            f"{space + ' ' if space != self.namespace else ''}{name}{args!r}"[:200]
            for space, events in self._received.items()
            for name, args in events
        ]
        if not shown:
            return "it received no events"
        left = f", and {len(shown) - _MAX_SHOWN} before" if len(shown) > _MAX_SHOWN else ""
        return f"it received {', '.join(shown[-_MAX_SHOWN:])}{left}"


def _plain(args: tuple[Any, ...]) -> Any:
    """Return no argument as None, one as it is, and several as a tuple."""
    if len(args) > 1:
        return args
    return args[0] if args else None
