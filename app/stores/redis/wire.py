"""One connection to a Redis, on which commands that come together leave together.

Commands of one turn of the loop are one write, with those of the next turns while these bring
more; and while a batch has not been answered, the next one gathers. Fifty clients that ask as
fast as they can make batches of fifty; one alone is not kept waiting.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import hiredis
from hiredis import PushNotification

from app.stores.futures import resolve

log = logging.getLogger("latchkey.redis")

Word = str | bytes | int | float
# its own type knows tuples of one word only
pack: Callable[[tuple[Word, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]

END = b"\r\n"  # of every word


@functools.lru_cache(1000)
def size(length: int) -> bytes:
    """Return what a word of this many bytes begins with."""
    return b"$%d\r\n" % length


def bulk(word: bytes) -> bytes:
    """Return one word of a packed command."""
    return b"".join((size(len(word)), word, END))


_IN_SCRIPT = re.compile(r"@user_script: \d+: -([A-Z]+) ")
_LARGEST_BATCH = 256  # commands
_ONE = b":1\r\n"  # what scripts answer that did what they should


class ReplyError(Exception):
    """Redis answered with an error; the text begins with its code, as in `NOSCRIPT …`.

    Redis 6.2 has that of a command in a script further on: `ERR … @user_script: 5: -READONLY …`.
    """

    @property
    def code(self) -> str:
        text = str(self)
        inner = _IN_SCRIPT.search(text)
        return inner[1] if inner else text.partition(" ")[0]


class Wire(asyncio.Protocol):
    """Sends commands, and gives replies to who waits for them, in order.

    It speaks RESP3 (after `HELLO 3`), so what is published comes on the same connection and in
    order with the replies. It is of use once: whoever made it makes another after `lost`.
    """

    def __init__(
        self, *, pushed: Callable[[list[Any]], None], lost: Callable[[Wire], None]
    ) -> None:
        """`pushed` is called with what Redis says unasked, `lost` when the connection is gone."""
        self._loop = asyncio.get_running_loop()
        self._pushed = pushed
        self._lost = lost
        self._reader = hiredis.Reader(replyError=ReplyError)
        self._between = True  # whether it certainly waits for the beginning of a reply
        self._out: list[bytes] = []
        self._gathering = False  # whether `_gather` is about to run
        self._waiting: deque[asyncio.Future[Any] | None] = deque()
        self._asked = self._answered = 0
        self._marks: deque[tuple[float, int]] = deque()  # when how many had been asked
        self._transport: asyncio.Transport | None = None

    def call(self, command: bytes) -> asyncio.Future[Any]:
        """Send a packed command; the future resolves with its reply."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(future)
        self._out.append(command)
        if not self._gathering:
            self._gather_soon()
        return future

    def send(self, command: bytes, future: asyncio.Future[Any] | None = None) -> None:
        """Send a packed command whose reply goes to `future`, or nowhere."""
        self._waiting.append(future)
        self.write(command)

    def write(self, command: bytes) -> None:
        """Send what gets no reply of its own (SUBSCRIBE)."""
        self._out.append(command)
        self._gather_soon()

    def _gather_soon(self) -> None:
        """Send what is to be sent in the next turn of the loop, unless that is still too early."""
        if not self._gathering and self._answered >= self._asked:
            self._gathering = True
            self._loop.call_soon(self._gather, 0)

    def _gather(self, before: int) -> None:
        """Send what is to be sent, once a turn of the loop has added nothing more to it."""
        if before < len(self._out) < _LARGEST_BATCH:
            self._loop.call_soon(self._gather, len(self._out))
            return
        self._gathering = False
        commands, self._out = self._out, []
        if self._transport is not None:
            self._asked = self._answered + len(self._waiting)
            self._marks.append((self._loop.time(), self._asked))
            self._transport.write(b"".join(commands))

    def longest_wait(self) -> float:
        """Seconds that the oldest command without a reply has been waiting."""
        marks = self._marks
        while marks and marks[0][1] <= self._answered:
            marks.popleft()
        return self._loop.time() - marks[0][0] if marks else 0.0

    def abort(self) -> None:
        """Close at once; whoever waits for a reply learns that there will be none."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one in all but its base class
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._deliver(self._read(data))
        except (hiredis.ProtocolError, IndexError):
            self.abort()
        if self._out:
            self._gather_soon()

    def _read(self, data: bytes) -> Iterable[Any]:
        """Return the replies that are complete with this data."""
        ones = len(data) // len(_ONE)
        if data != _ONE * ones:
            self._between = False  # `has_data` says nothing of the rest of an array to come
            self._reader.feed(data)
            return self._parsed()
        if not self._between:
            self._reader.feed(data)
            replies = list(self._parsed())
            self._between = replies == [1] * ones
            return replies
        # nearly every reply to a busy server
        return itertools.repeat(1, ones)

    def _parsed(self) -> Iterator[Any]:
        gets = self._reader.gets
        while (reply := gets()) is not False:
            yield reply

    def _deliver(self, replies: Iterable[Any]) -> None:
        """Give the replies to those who wait for them."""
        next_waiting = self._waiting.popleft
        for reply in replies:
            kind = type(reply)
            if kind is PushNotification:
                self._pushed(reply)
                continue
            self._answered += 1
            future = next_waiting()
            try:  # what `answer` does, without a call for each reply
                if future is None or future.done():
                    continue
                if kind is ReplyError:
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
            except Exception:
                log.exception("a caller of the Redis could not be answered")

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        waiting, self._waiting = self._waiting, deque()
        gone = ConnectionError("the connection was lost")
        for future in waiting:
            if future is not None:
                resolve(future, gone)
        self._lost(self)
