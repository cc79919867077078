"""What comes from a Redis, in whatever pieces, and who gets it; without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from app.stores.redis.connection import Connection
from app.stores.redis.reply_error import ReplyError

ONE = b":1\r\n"
#: each with what it stands for
REPLIES = [
    (ONE, 1),
    (b"*2\r\n$8\r\nsocketio\r\n:1\r\n", ["socketio", 1]),
    (ONE, 1),
    (ONE, 1),
    (b"$4\r\n:1\r\n\r\n", ":1\r\n"),
    (ONE, 1),
    (b"$8\r\n:1\r\n:1\r\n\r\n", ":1\r\n:1\r\n"),
    (b"*3\r\n:1\r\n:1\r\n:1\r\n", [1, 1, 1]),
    (b":11\r\n", 11),
    (ONE, 1),
    (b"-ERR no\r\n", "ERR no"),
    (b"_\r\n", None),
    (ONE, 1),
]


def plain(reply: Any) -> Any:
    """Return a reply as one can write it down."""
    if isinstance(reply, list):
        return [plain(each) for each in reply]
    if isinstance(reply, bytes):
        return reply.decode()
    return str(reply) if isinstance(reply, ReplyError) else reply


async def told(pieces: Iterator[bytes]) -> list[Any]:
    """Return what those who asked are told, if it comes in these pieces."""
    lost: list[Connection] = []
    connection = Connection(on_push=lambda push: None, on_lost=lost.append)
    asked = [connection.call(b"") for _ in REPLIES]
    for piece in pieces:
        connection.data_received(piece)
    async with asyncio.timeout(5):
        replies = await asyncio.gather(*asked, return_exceptions=True)
    assert not lost
    return [plain(reply) for reply in replies]


def cut(data: bytes, at: list[int]) -> Iterator[bytes]:
    for start, end in zip([0, *at], [*at, len(data)], strict=True):
        yield data[start:end]


@pytest.mark.parametrize("size", range(1, 13))
async def test_replies_may_be_cut_anywhere(size: int) -> None:
    """Data arrives in pieces of one size, from every offset."""
    data = b"".join(packed for packed, _ in REPLIES)
    expected = [reply for _, reply in REPLIES]
    for first in range(1, size + 1):
        assert await told(cut(data, list(range(first, len(data), size)))) == expected


async def test_a_line_may_be_a_reply_or_a_part_of_one() -> None:
    """Pieces end with a line: `:1` is a reply, an item of one, or text."""
    lines = [line for packed, _ in REPLIES for line in packed.splitlines(keepends=True)]
    assert ONE in lines
    assert await told(iter(lines)) == [reply for _, reply in REPLIES]
