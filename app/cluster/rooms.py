"""Emits to the sockets of every process, in the messages of python-socketio's Redis manager."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from socketio.async_pubsub_manager import AsyncPubSubManager

from app.cluster import emit_batches
from app.cluster.emit_batches import EmitBatches
from app.common.rate_limited_log import RateLimitedLog
from app.stores.redis import RedisClient
from app.stores.redis.subscriptions import Subscriber
from app.transport import Rooms
from app.transport.socketio import packet_json
from app.transport.socketio.rooms import several

log = logging.getLogger("latchkey.rooms")

_CHANNEL = "socketio"
_PICKLE = b"\x80"  # how pickled data begins, from protocol 2 on
_ACK_TIMEOUT = 60.0  # seconds that a client of another process has to acknowledge


def _unreadable(message: bytes) -> str:
    """Describe an invalid message without unpickling it, which would run code in it."""
    if message.startswith(_PICKLE):
        return (
            "a program with python-socketio older than 5.14 publishes pickled messages, which "
            "are dropped; upgrade it to 5.14 or newer"
        )
    return "dropped a message that is not in python-socketio's format"


def _encode_ack(ack: dict[str, Any]) -> bytes:
    """Encode a client's ack for the process that waits for it; bytes arrive there as bytes.

    python-socketio has no format for bytes in acks. Here they are placeholders in `args`, and
    follow in `attachments`.
    """
    args, attachments = packet_json.encode(list(ack["args"]), max_attachments=sys.maxsize)
    if attachments:
        ack = {**ack, "attachments": attachments}
    return msgspec.json.encode({**ack, "args": msgspec.Raw(args)})


class RedisRooms(AsyncPubSubManager, Rooms):
    """`Rooms` whose emits, joins and disconnects reach the clients of other processes too.

    Channel and messages are those of `socketio.AsyncRedisManager`, so another program can emit to
    these sockets with one that is `write_only`. During an outage an emit neither waits nor fails:
    sockets of this process get it, those of others miss it.

    The only process of a site publishes nothing. Processes of this release publish `EmitBatches`
    to each other. If another listens too, of an older release or with a `socketio` server of its
    own, they publish each emit in its format. A process that joins publishes that before it serves.
    """

    def __init__(self, redis: RedisClient) -> None:
        super().__init__(channel=_CHANNEL)
        self._redis = redis
        self._id_in_messages = self.host_id.encode()
        self._alone = False
        self._batching = False  # whether all that listen know batches
        self._batches = EmitBatches(redis, self.host_id, self.rooms, self._deliver)
        self._channel_log = RateLimitedLog(log)
        self._joins = 0  # of other processes, and of this one
        self._ack_timers: dict[tuple[str, int], asyncio.TimerHandle] = {}
        self._acts: dict[str, Callable[[Any], Any]] = {
            "emit": self._handle_emit,
            "callback": self._handle_callback,
            "disconnect": self._handle_disconnect,
            "enter_room": self._handle_enter_room,
            "leave_room": self._handle_leave_room,
            "close_room": self._handle_close_room,
            "join": self._handle_join,
        }

    def subscriber(self) -> Subscriber:
        """Return the Redis channels and the functions that take their messages."""
        channels = {_CHANNEL: self._receive, emit_batches.CHANNEL: self._batches.receive}
        return Subscriber(channels=channels, connected=self._join)

    async def count_others(self) -> None:
        """Find out whether other processes listen; raises StoreUnavailable."""
        joins = self._joins
        channels = (_CHANNEL, emit_batches.CHANNEL)
        _, listeners, _, new = await self._redis.execute("PUBSUB", "NUMSUB", *channels)
        self._alone = listeners <= 1 and joins == self._joins
        self._batching = listeners == new and joins == self._joins

    def _join(self) -> None:
        self._note_join()
        self._redis.publish(_CHANNEL, b'{"method":"join"}')

    async def _handle_join(self, content: dict[str, Any]) -> None:
        self._note_join()

    def _note_join(self) -> None:
        """Publish in the format that all know until `count_others` knows who listens."""
        self._batches.flush()
        self._joins += 1
        self._alone = self._batching = False

    def is_only_member(self, namespace: str, room: str, sid: str) -> bool:
        return self._alone and Rooms.is_only_member(self, namespace, room, sid)

    def initialize(self) -> None:
        """Do nothing: the client listens already, and needs no task as the base class does."""

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        to: Any = None,
        **options: Any,
    ) -> None:
        """Send an event to a client, a room or all, at whichever process; it never waits."""
        namespace, room = namespace or "/", room if to is None else to
        if callback is not None:
            self.check_callback(namespace, room)
        if self._alone or options.get("ignore_queue") or self.is_sid_room(namespace, room):
            await Rooms.emit(self, event, data, namespace, room, skip_sid, callback)
            return
        values = list(data) if isinstance(data, tuple) else [data]
        # first, so that an event which cannot be encoded reaches nobody
        payload, attachments = packet_json.encode([event, *values])
        if callback is not None or attachments:
            await super().emit(event, data, namespace, room, skip_sid, callback)
            return
        await Rooms.emit(self, event, data, namespace, room, skip_sid)
        # a client of this process is nowhere else
        skipped = None if type(skip_sid) is str and skip_sid in self.clients else skip_sid
        if self._batching and self._batches.add(namespace, room, skipped, payload):
            return
        await self._publish(
            {
                "method": "emit",
                "event": event,
                "data": values,
                "binary": False,
                "namespace": namespace,
                "room": list(room) if several(room) else room,
                "skip_sid": list(skip_sid) if several(skip_sid) else skip_sid,
                "callback": None,
                "host_id": self.host_id,
            }
        )

    async def _publish(self, data: dict[str, Any]) -> None:
        if data["method"] == "callback":
            message = _encode_ack(data)
        else:
            message, _ = packet_json.encode(data)
        self._batches.flush()
        self._redis.publish(self.channel, message)

    def _receive(self, message: bytes) -> None:
        if message.startswith(b'{"method":"emit"') and self._id_in_messages in message:
            return  # most messages are emits of this process
        try:
            content = packet_json.decode_trusted(message.decode())
            method, act = content["method"], self._acts[content["method"]]
        except (ValueError, KeyError, TypeError):
            self._channel_log.add(_CHANNEL, _unreadable(message))
            return
        if method == "callback" or content.get("host_id") != self.host_id:
            # at once, so that emits stay in their order
            self.server.tasks.start(self._act(act, content))

    def _deliver(self, content: dict[str, Any]) -> None:
        """Deliver an emit of another process, at once, so that emits stay in their order."""
        self.server.tasks.start(self._act(self._handle_emit, content))

    async def _handle_callback(self, content: dict[str, Any]) -> None:
        if content.get("attachments"):
            attachments = [base64.b64decode(item) for item in content["attachments"]]
            content["args"] = packet_json.fill(content["args"], attachments)
        await super()._handle_callback(content)

    async def _act(self, act: Callable[[Any], Any], content: dict[str, Any]) -> None:
        try:
            await act(content)
        except Exception:
            log.exception("a message of another process failed: %s", content["method"])

    # Acks of clients of other processes, whose disconnects this process does not see

    def new_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        id = super().new_ack_id(sid, callback)
        if sid not in self.clients:
            self._ack_timers[sid, id] = asyncio.get_running_loop().call_later(
                _ACK_TIMEOUT, self._drop_callback, sid, id
            )
        return int(id)

    async def trigger_callback(self, sid: str, id: int | None, data: list[Any]) -> None:
        """Call the callback of an emit that a client has acknowledged."""
        timer = None if id is None else self._ack_timers.pop((sid, id), None)
        if timer is not None:
            timer.cancel()
        await super().trigger_callback(sid, id, data)

    def stop(self) -> None:
        """Stop waiting for acks."""
        for timer in self._ack_timers.values():
            timer.cancel()
        self._ack_timers.clear()

    def _drop_callback(self, sid: str, id: int) -> None:
        self._ack_timers.pop((sid, id), None)
        waiting = self.callbacks.get(sid)
        if waiting is not None:
            waiting.pop(id, None)
            if not waiting and sid not in self.clients:
                del self.callbacks[sid]
