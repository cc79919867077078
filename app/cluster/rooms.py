"""Emits to sockets of every process, through Redis, as python-socketio's own manager sends them."""

from __future__ import annotations

import asyncio
import base64
import logging
import sys
from collections.abc import Callable
from typing import Any

import msgspec
from socketio.async_pubsub_manager import AsyncPubSubManager

from app.common.rate_limited_log import RateLimitedLog
from app.stores.redis.link import Link
from app.stores.redis.wire import pack
from app.transport import Rooms
from app.transport.socketio import packet_json
from app.transport.socketio.rooms import several

log = logging.getLogger("latchkey.rooms")

_CHANNEL = "socketio"
_PICKLE = b"\x80"  # how pickled data begins, from protocol 2 on
_ACK_LIFE = 60.0  # seconds that a client of another process has to acknowledge


def _unreadable(message: bytes) -> str:
    """Describe an invalid message without unpickling it, which would run code in it."""
    if message.startswith(_PICKLE):
        return (
            "a program with python-socketio older than 5.14 publishes pickled messages, which "
            "are dropped; upgrade it to 5.14 or newer"
        )
    return "dropped a message that is not in python-socketio's format"


def _encode_ack(told: dict[str, Any]) -> bytes:
    """Encode a client's ack for the process that waits for it; bytes arrive there as bytes.

    python-socketio has no form for those: they are placeholders in `args`, and in `attachments`.
    """
    args, attachments = packet_json.encode(list(told["args"]), max_attachments=sys.maxsize)
    if attachments:
        told = {**told, "attachments": attachments}
    return msgspec.json.encode({**told, "args": msgspec.Raw(args)})


class RedisRooms(AsyncPubSubManager, Rooms):
    """`Rooms` whose emits, joins and disconnects reach the clients of other processes too.

    Channel and messages are those of `socketio.AsyncRedisManager`, so another program that has
    one, `write_only`, can emit to these sockets. What differs is what an outage does: an emit
    never waits and never fails; sockets of this process get it, those of others miss it.

    A process that is the only one publishes nothing. Whoever joins says so before he serves.
    """

    def __init__(self, link: Link) -> None:
        super().__init__(channel=_CHANNEL)
        self._link = link
        self._me = self.host_id.encode()
        self._alone = False
        self._channel_log = RateLimitedLog(log)
        self._joined = 0  # how often somebody did
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
        link.listen(_CHANNEL, self._hear)
        link.on_up.append(self._join)

    async def count_others(self) -> None:
        """Find out whether somebody else listens; raises StoreUnavailable."""
        joined = self._joined
        _, listeners = await self._link.run(pack(("PUBSUB", "NUMSUB", _CHANNEL)))
        self._alone = listeners <= 1 and joined == self._joined

    def _join(self) -> None:
        self._joined += 1
        self._alone = False
        self._link.send(pack(("PUBLISH", _CHANNEL, b'{"method":"join"}')))

    async def _handle_join(self, told: dict[str, Any]) -> None:
        self._joined += 1
        self._alone = False

    def nobody_else(self, namespace: str, room: str, sid: str) -> bool:
        return self._alone and Rooms.nobody_else(self, namespace, room, sid)

    def initialize(self) -> None:
        """Do nothing: the link listens already, without the stock one's task."""

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
        """Send an event to a client, a room or all, wherever they are; it never waits."""
        namespace, room = namespace or "/", room if to is None else to
        if callback is not None:
            self.check_callback(namespace, room)
        if self._alone or options.get("ignore_queue") or self.is_sid_room(namespace, room):
            await Rooms.emit(self, event, data, namespace, room, skip_sid, callback)
            return
        values = list(data) if isinstance(data, tuple) else [data]
        # first, so that an event which cannot be encoded reaches nobody
        _, attachments = packet_json.encode([event, *values])
        if callback is not None or attachments:
            await super().emit(event, data, namespace, room, skip_sid, callback)
            return
        await Rooms.emit(self, event, data, namespace, room, skip_sid)
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
        self._link.send(pack(("PUBLISH", self.channel, message)))

    def _hear(self, channel: bytes, message: bytes) -> None:
        if message.startswith(b'{"method":"emit"') and self._me in message:
            return  # one's own, which is most of what a process hears
        try:
            told = packet_json.decode_trusted(message.decode())
            method, act = told["method"], self._acts[told["method"]]
        except (ValueError, KeyError, TypeError):
            self._channel_log.add(_CHANNEL, _unreadable(message))
            return
        if method == "callback" or told.get("host_id") != self.host_id:
            # at once, so that emits stay in their order
            self.server.tasks.start(self._act(act, told))

    async def _handle_callback(self, told: dict[str, Any]) -> None:
        if told.get("attachments"):
            attachments = [base64.b64decode(item) for item in told["attachments"]]
            told["args"] = packet_json.fill(told["args"], attachments)
        await super()._handle_callback(told)

    async def _act(self, act: Callable[[Any], Any], told: dict[str, Any]) -> None:
        try:
            await act(told)
        except Exception:
            log.exception("a message of another process (%s) failed", told["method"])

    # Acks of clients of other processes, who leave without this one hearing of it

    def new_ack_id(self, sid: str, callback: Callable[..., Any]) -> int:
        id = super().new_ack_id(sid, callback)
        if sid not in self.clients:
            self._ack_timers[sid, id] = asyncio.get_running_loop().call_later(
                _ACK_LIFE, self._drop_callback, sid, id
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
