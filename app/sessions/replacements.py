"""Sessions that go on under a new id: connections of the old one find them, cookies never do."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from app.common.log_and_continue import logged

log = logging.getLogger("latchkey.sessions")

_LIFETIME = 60.0  # seconds for which connections of the old id find the new one


class Replacement(msgspec.Struct, frozen=True):
    """What has replaced the id of a session whose user has proven once more who they are."""

    old_id: str
    new_id: str
    #: Of the client that gave the proof, as limits know it. Connections from elsewhere do not go
    #: on, so that a thief of the old cookie gains nothing from the owner's proof.
    network: str

    def encode(self) -> bytes:
        """Return the note that a store keeps, and that other processes get."""
        return msgspec.json.encode(self)


class ConnectionSession(Protocol):
    """Which session a connection belongs to; the one place that says so."""

    session_id: str
    network: str


class Store(Protocol):
    """Where the notes of other processes are."""

    async def replaced_by(self, session_id: str) -> bytes | None: ...


class Replacements:
    """The ids that were replaced in the last minute, as far as this process knows."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, Replacement]] = {}  # by old id, the oldest first
        self._under_way: dict[str, asyncio.Future[None]] = {}
        #: Called at once with each replacement, by this process or another one, before anything
        #: else happens; once more for connections that were not there then.
        self.on_replaced: list[Callable[[Replacement], None]] = []

    @contextlib.contextmanager
    def replacing(self, session_id: str) -> Iterator[None]:
        """Let `find` wait until the block ends, which may replace this id."""
        done = asyncio.get_running_loop().create_future()
        self._under_way[session_id] = done
        try:
            yield
        finally:
            if self._under_way.get(session_id) is done:
                del self._under_way[session_id]
            done.set_result(None)

    def add(self, replacement: Replacement) -> None:
        """Note a replacement, and let the connections of this process follow it."""
        now = asyncio.get_running_loop().time()
        self._forget_before(now - _LIFETIME)
        self._known.setdefault(replacement.old_id, (now, replacement))
        for listener in self.on_replaced:
            with logged(log, "a connection could not follow its session to a new id"):
                listener(replacement)

    def receive(self, note: bytes) -> Replacement:
        """Add what another process has noted; raises ValueError."""
        replacement = msgspec.json.decode(note, type=Replacement)
        self.add(replacement)
        return replacement

    async def find(self, session_id: str) -> Replacement | None:
        """Return what has replaced this id, of a connection; None if nothing has.

        Connections of this id that may follow have done so on return. Raises StoreUnavailable.
        """
        under_way = self._under_way.get(session_id)
        if under_way is not None:
            await asyncio.wait({under_way})
        known = self._known.get(session_id)
        if known is not None:
            self.add(known[1])
            return known[1]
        note = await self._store.replaced_by(session_id)
        return None if note is None else self.receive(note)

    async def follow(self, connection: ConnectionSession) -> bool:
        """Let a connection whose session is missing go on under the new id.

        Returns whether it has another id now. Raises StoreUnavailable.
        """
        old_id = connection.session_id
        replacement = await self.find(old_id)
        if (
            replacement is not None
            and connection.session_id == old_id
            and connection.network == replacement.network
        ):
            # it is closed; its client left while a task that it started goes on
            connection.session_id = replacement.new_id
        return connection.session_id != old_id

    def _forget_before(self, time: float) -> None:
        while self._known:
            old_id, (noted, _) = next(iter(self._known.items()))
            if noted > time:
                return
            del self._known[old_id]
