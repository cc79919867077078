"""One connection to a Redis: pipelined commands, their replies, and published messages."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis
from hiredis import PushNotification

from app.common.histogram import Histogram
from app.stores.futures import resolve
from app.stores.redis.confirmation import Confirmation
from app.stores.redis.reply_error import ReplyError

log = logging.getLogger("latchkey.redis")

Word = str | bytes | int | float
# hiredis' own type hint allows tuples of one word only
pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


def bulk(word: bytes) -> bytes:
    """Return one word as a packed command has it; see `Script.packed`."""
    return b"$%d\r\n%b\r\n" % (len(word), word)


_MAX_BATCH = 256  # commands


class Connection(asyncio.Protocol):
    """Sends packed commands and gives each reply to its caller, in order.

    It speaks RESP3 (after `HELLO 3`), so published messages arrive on the same connection, in
    order with the replies. It is used once: after `on_lost` the owner makes another.

    Commands of one turn of the loop are one write, together with those of the next turns while
    these add more. While a batch is unanswered, the next one gathers. So fifty clients that ask
    as fast as they can make batches of fifty, and a single client never waits for others.
    """

    def __init__(
        self,
        *,
        on_push: Callable[[list[Any]], None],
        on_lost: Callable[[Connection], None],
        round_trips: Histogram | None = None,
        wait_replicas: int = 0,
    ) -> None:
        """`on_push` is called with each RESP3 push, `on_lost` when the connection has closed.

        `round_trips` gets the time from the write of each batch to its last reply. `wait_replicas`
        is how many replicas have to confirm a change before its caller is answered.
        """
        self._loop = asyncio.get_running_loop()
        self._on_push = on_push
        self._on_lost = on_lost
        self._round_trips = round_trips or Histogram()
        self._reader = hiredis.Reader(replyError=ReplyError)
        self._out: list[bytes] = []
        self._gathering = False  # whether `_gather` is scheduled
        self._waiting: deque[asyncio.Future[Any] | None] = deque()
        self._sent = self._answered = 0  # commands
        self._batches: deque[tuple[float, int]] = deque()  # when each was sent, and `_sent` then
        self._transport: asyncio.Transport | None = None
        self._confirmation = Confirmation(wait_replicas) if wait_replicas else None

    def call(self, command: bytes, change: bool = False) -> asyncio.Future[Any]:
        """Send a packed command; the future resolves to its reply.

        The reply to a change comes when the replicas have it, if this connection waits for them.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        if change and self._confirmation is not None:
            self._waiting.append(self._confirmation.hold(future))
        else:
            self._waiting.append(future)
        self._out.append(command)
        if not self._gathering:
            self._gather_soon()
        return future

    def send(
        self, command: bytes, future: asyncio.Future[Any] | None = None, change: bool = False
    ) -> None:
        """Send a packed command whose reply goes to `future`, or nowhere."""
        if change and future is not None and self._confirmation is not None:
            future = self._confirmation.hold(future)
        self._waiting.append(future)
        self.send_unanswered(command)

    def send_unanswered(self, command: bytes) -> None:
        """Send a packed command that gets no reply of its own (SUBSCRIBE)."""
        self._out.append(command)
        if not self._gathering:
            self._gather_soon()

    def longest_wait(self) -> float:
        """Return for how many seconds the oldest unanswered command has been waiting."""
        batches = self._batches
        return self._loop.time() - batches[0][0] if batches else 0.0

    def abort(self) -> None:
        """Close at once; callers that wait for a reply get ConnectionError."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport does not inherit from asyncio.Transport
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, waiting = self._reader.gets, self._waiting
        try:
            while (reply := gets()) is not False:
                if type(reply) is PushNotification:
                    self._on_push(reply)
                    continue
                self._answered += 1
                future = waiting.popleft()
                if future is None or future.done():
                    continue
                try:  # as `resolve` does, without 0.2 µs for the call
                    if type(reply) is ReplyError:
                        future.set_exception(reply)
                    else:
                        future.set_result(reply)
                except Exception:
                    log.exception("a caller of the Redis could not be answered")
        except (hiredis.ProtocolError, IndexError):  # IndexError: a reply to no command
            self.abort()
        batches = self._batches
        while batches and batches[0][1] <= self._answered:
            self._round_trips.observe(self._loop.time() - batches.popleft()[0])
        if self._out:
            self._gather_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        lost = ConnectionError("the connection was lost")
        for future in waiting:
            if future is not None:
                resolve(future, lost)
        if self._confirmation is not None:
            self._confirmation.lose(lost)
        self._on_lost(self)

    def _gather_soon(self) -> None:
        """Write the batch in the next turn of the loop, unless one is still unanswered."""
        if not self._gathering and self._answered >= self._sent:
            self._gathering = True
            self._loop.call_soon(self._gather, 0)

    def _gather(self, before: int) -> None:
        """Write the batch once a turn of the loop has added nothing to it."""
        if before < len(self._out) < _MAX_BATCH:
            self._loop.call_soon(self._gather, len(self._out))
            return
        self._gathering = False
        if self._confirmation is not None:
            self._wait_for_replicas(self._confirmation)
        commands, self._out = self._out, []
        if self._transport is not None:
            self._sent = self._answered + len(self._waiting)
            if self._waiting:  # else these are commands without a reply
                self._batches.append((self._loop.time(), self._sent))
            self._transport.write(b"".join(commands))

    def _wait_for_replicas(self, confirmation: Confirmation) -> None:
        """End the batch with WAIT if it has changes."""
        confirmed: asyncio.Future[Any] = self._loop.create_future()
        if confirmation.release_with(confirmed):
            self._waiting.append(confirmed)
            self._out.append(pack(confirmation.words))
