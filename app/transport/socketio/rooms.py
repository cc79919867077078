"""The rooms of clients and the clients of rooms."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any, Protocol

from app.transport.engineio.ids import Ids
from app.transport.socketio import packet_json, packets
from app.transport.socketio.peer import Peer
from app.transport.socketio.python_socketio import LibraryManager
from app.transport.tasks import Tasks

_SID = re.compile(r"[A-Za-z0-9_-]{20}")  # what `Ids.new` makes


def several(room: Any) -> bool:
    """Tell whether this is a collection of rooms, rather than the name of one."""
    return isinstance(room, (list, tuple, Set))


class Client:
    """One Socket.IO client: a connection in one namespace."""

    __slots__ = ("address", "connected", "eio_sid", "namespace", "rooms", "sid")

    def __init__(self, sid: str, eio_sid: str, namespace: str) -> None:
        self.sid = sid
        self.eio_sid = eio_sid
        self.address = eio_sid  # where messages go; empty once it has left
        self.namespace = namespace
        self.rooms: set[Any] | None = None  # besides the one of its own sid
        self.connected = False  # neither before CONNECT is answered nor once it leaves


class Server(Protocol):
    """What is asked of the Socket.IO server."""

    peers: dict[str, Peer]
    tasks: Tasks


class Rooms(LibraryManager):
    """python-socketio's client manager, with the rooms of a client known by its sid.

    The stock one asks every room when a client leaves. Here a client holds its rooms, its own
    room is implied, and `rooms[namespace][None]` has all clients, so a join, a leave and a
    disconnect cost the same however many are there. Nothing of it depends on the process being
    alone: `class RedisRooms(socketio.AsyncRedisManager, Rooms)` emits through Redis and delivers
    through this.
    """

    server: Server

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: namespace -> room -> sid -> eio_sid
        self.rooms: dict[str, dict[Any, dict[str, str]]] = {}
        self.clients: dict[str, Client] = {}
        self._ids = Ids()
        self._ack_ids = itertools.count(1)

    # Clients

    async def pre_connect(self, eio_sid: str, namespace: str) -> str:
        """Register a client whose connect handler is about to run; return its new sid."""
        sid = self._ids.new()
        self.clients[sid] = Client(sid, eio_sid, namespace)
        self.rooms.setdefault(namespace, {}).setdefault(None, {})[sid] = eio_sid
        return sid

    async def connect(self, sid: str, namespace: str) -> str:
        self.clients[sid].connected = True
        return sid

    def pre_disconnect(self, sid: str, namespace: str) -> str:
        """Note that a client leaves; it stays in its rooms while its disconnect handler runs."""
        client = self.clients[sid]
        client.connected = False
        return client.eio_sid

    def stop_delivery(self, sid: str) -> None:
        """Send no more to a client that has left, though it stays in its rooms for its handler.

        Its connection may join the namespace again meanwhile, as another client.
        """
        client = self.clients[sid]
        client.address = ""
        rooms = self.rooms[client.namespace]
        for room in (None, *(client.rooms or ())):
            rooms[room][sid] = ""

    def basic_disconnect(self, sid: str, namespace: str, **options: Any) -> None:
        client = self.clients.pop(sid, None)
        if client is not None:
            for room in client.rooms or ():
                self._drop(namespace, room, sid)
            self._drop(namespace, None, sid)
        self.callbacks.pop(sid, None)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Tell whether a client is here, or its connect handler runs."""
        return self._client(sid, namespace) is not None

    def is_pre_connected(self, sid: str, namespace: str) -> bool:
        client = self._client(sid, namespace)
        return client is not None and not client.connected

    def is_connected(self, sid: str, namespace: str) -> bool:
        client = self._client(sid, namespace)
        return client is not None and client.connected

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        client = self._client(sid, namespace)
        return None if client is None else client.eio_sid

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        peer = self.server.peers.get(eio_sid)
        return None if peer is None else peer.clients.get(namespace)

    def _client(self, sid: str, namespace: str) -> Client | None:
        client = self.clients.get(sid)
        return client if client is not None and client.namespace == namespace else None

    # Rooms

    def is_sid_room(self, namespace: str, room: Any) -> bool:
        return isinstance(room, str) and self._client(room, namespace) is not None

    def basic_enter_room(
        self, sid: str, namespace: str, room: Any, eio_sid: str | None = None
    ) -> None:
        client = self._client(sid, namespace)
        if client is None:
            raise ValueError("sid is not connected to requested namespace")
        if room is None or room == sid:
            return
        if self.is_sid_room(namespace, room):
            raise ValueError("cannot enter a sid room")
        if client.rooms is None:
            client.rooms = set()
        client.rooms.add(room)
        self.rooms[namespace].setdefault(room, {})[sid] = client.address

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        client = self._client(sid, namespace)
        if client is not None and client.rooms is not None and room in client.rooms:
            client.rooms.discard(room)
            self._drop(namespace, room, sid)

    def _drop(self, namespace: str, room: Any, sid: str) -> None:
        """Take a client out of a room, and the room away with its last one."""
        rooms = self.rooms[namespace]
        members = rooms[room]
        members.pop(sid, None)
        if not members:
            del rooms[room]
            if not rooms:
                del self.rooms[namespace]

    def basic_close_room(self, room: Any, namespace: str) -> None:
        """Take all clients out of a room, or of several."""
        for one in room if several(room) else (room,):
            if self.is_sid_room(namespace, one):
                raise ValueError("cannot close a sid room")
            for sid, _ in list(self._members(namespace, one)):
                self.basic_leave_room(sid, namespace, one)

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        client = self._client(sid, namespace)
        return [] if client is None else [sid, *(client.rooms or ())]

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Yield (sid, address) of a room, or of several, each client once; None means all.

        None in a collection of rooms stands for a missing name and has no clients.
        """
        if several(room):
            members: dict[str, str] = {}
            for one in room:
                if one is not None:
                    members.update(self._members(namespace, one))
        else:
            members = dict(self._members(namespace, room))
        yield from members.items()

    def _members(self, namespace: str, room: Any) -> Iterable[tuple[str, str]]:
        if isinstance(room, str):
            client = self._client(room, namespace)
            if client is not None:
                return ((room, client.address),)
        return self.rooms.get(namespace, {}).get(room, {}).items()

    # Emitting

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        to: Any = None,
        **options: Any,
    ) -> None:
        """Send an event to a client, a room or all; it is encoded once and never waits.

        `to` goes before `room`. None for both reaches all clients, an empty list none, and any
        other value the room of that name. A `callback` needs the sid of one client: raises
        ValueError for a room. Raises TypeError or ValueError for data that JSON cannot hold.
        """
        audience = room if to is None else to
        if callback is not None:
            self.check_callback(namespace, audience)
        if self.has_no_recipients(namespace, audience, skip_sid):
            return
        arguments = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        skipped = skip_sid if several(skip_sid) else (skip_sid,)
        peers = self.server.peers
        # first, so that an event which cannot be encoded leaves no callback behind
        encoded = packet_json.encode([event, *arguments])
        message = packets.assemble(packets.EVENT, namespace, None, *encoded)
        for sid, eio_sid in self.get_participants(namespace, audience):
            peer = peers.get(eio_sid)
            if peer is None or sid in skipped:
                continue
            if callback is not None:
                id = self.new_ack_id(sid, callback)
                message = packets.assemble(packets.EVENT, namespace, id, *encoded)
            peer.send(namespace, message)

    def is_only_member(self, namespace: str, room: str, sid: str) -> bool:
        """Tell whether that room has no client but `sid`, in any process.

        `room` must not be a client's own. This takes less time than `has_no_recipients`.
        """
        rooms = self.rooms.get(namespace)
        members = rooms and rooms.get(room)
        return not members or (len(members) == 1 and sid in members)

    def has_no_recipients(self, namespace: str, room: Any, sid: Any) -> bool:
        """Tell whether that room has no client but `sid` in this process."""
        rooms = self.rooms.get(namespace)
        if rooms is None:
            return True
        if type(room) is not str:
            return False
        members = rooms.get(room)
        if members is None:
            return not self.is_sid_room(namespace, room)
        return len(members) == 1 and type(sid) is str and sid in members

    def check_callback(self, namespace: str, room: Any) -> None:
        """Raise ValueError unless this can be the sid of one client, here or elsewhere."""
        a_sid = isinstance(room, str) and _SID.fullmatch(room)
        if not a_sid or room in self.rooms.get(namespace, ()):
            raise ValueError(
                "callback needs the sid of one client as `to`: of a room each client would "
                "acknowledge by itself; emit to each of them, or without a callback"
            )

    def new_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        id = next(self._ack_ids)
        self.callbacks.setdefault(sid, {})[id] = callback
        return id

    async def trigger_callback(self, sid: str, id: int | None, data: list[Any]) -> None:
        """Run the callback of an acknowledged emit; an ack that was not asked for does nothing."""
        callback = self.callbacks.get(sid, {}).pop(id, None)
        if callback is not None:
            result = callback(*data)
            if inspect.isawaitable(result):
                await result
