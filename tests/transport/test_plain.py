"""The short way of plain events beside the long one, in Python and compiled."""

from __future__ import annotations

import asyncio
import json
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.transport.engineio import frames
from app.transport.engineio.frames import FrameError, FrameParser
from app.transport.socketio import packet_json, packets, plain
from tests.support.raw_websocket import frame
from tests.support.socket_server import Server, served

LIMIT = 100
HEADER = Path(sysconfig.get_path("include")) / "Python.h"
WAYS = [plain.event_in_python, plain.plain_event]

PLAIN = [
    b'42["a"]',
    b'420["incr"]',
    b'42123456789012345["name",{"x":[1,null]}]',
    b'42007["a"]',
    b'42["a",{"b":"\\ud83d\\ude00"}]',
    b'42["' + b"x" * (LIMIT - 6) + b'"]',
]
OTHERS = [
    b"",
    b"42[",
    b"42[]",
    b"42[1]",
    b'42[["a"]]',
    b'42["a"] 1',
    b'42["a",NaN]',
    b'42["a",1e999]',
    b'42["connect",{}]',
    b'421["disconnect"]',
    b'42["*","x"]',
    b'42["\\u002a"]',
    b"4",
    b"42",
    b"2probe",
    b"40",
    b'431["a"]',
    b'41["a"]',
    b'32["a"]',
    b'421234567890123456["an id of 16 digits"]',
    b'42/admin,1["a"]',
    b'42 1["a"]',
    b'42-1["a"]',
    b"421",
    b'42{"a":[1]}',
    b'451-["a",{"_placeholder":true,"num":0}]',
    '42["größer"]'.encode(),
    '42²["a"]'.encode(),
    b'42["\xff"]',
    b'42["' + b"x" * (LIMIT - 5) + b'"]',
    b'42["' + b"x" * 200 + b'"]',
]


def ask(way: Any, read: bytes, longest: int = LIMIT) -> Any:
    """What a way makes of a read, in a buffer where the leavings of an older one follow."""
    buffer = memoryview(bytearray(read + b'"]' * 100))
    return way(buffer, len(read), longest, packet_json.loads, packets.RESERVED_EVENTS)


def the_long_way(read: bytes) -> Any:
    """The id and the data of the one event in a read, or None."""
    parser = FrameParser(LIMIT)
    parser.feed(read)
    try:
        text, rest = parser.next(), parser.next()
        packet = packets.decode(text) if isinstance(text, str) and text[:1] == "4" else None
    except (FrameError, packets.PacketError):
        return None
    alone = rest is None and parser.idle
    event = packet and packet.type == packets.EVENT and packet.namespace == "/"
    return (packet.id, packet.data) if packet and event and alone else None


def test_it_is_compiled_wherever_there_is_a_compiler() -> None:
    """Or the figures in the README would be another program's."""
    if shutil.which("cc") and HEADER.exists():
        assert plain.plain_event is not plain.event_in_python
        assert plain.text_frame is not plain.frame_in_python
        assert plain.ack_text is not plain.ack_in_python


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("payload", PLAIN)
def test_a_plain_event_is_its_id_and_what_its_json_says(way: Any, payload: bytes) -> None:
    """The id without leading zeros, as the long way reads it."""
    start = payload.index(b"[")
    id = int(payload[2:start]) if start > 2 else None
    assert ask(way, frame(0x81, payload, b"mask")) == (id, json.loads(payload[start:]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("payload", OTHERS)
def test_what_is_not_plain_is_left_to_the_long_way(way: Any, payload: bytes) -> None:
    """Right or wrong."""
    assert ask(way, frame(0x81, payload, b"mask")) is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [0x01, 0x80, 0x82, 0x88, 0x89, 0xC1, 0x91])
def test_only_one_final_text_frame_is_plain(way: Any, first: int) -> None:
    """Without reserved bits, masked, whole, and with nothing behind it."""
    event = b'421["a"]'
    whole = frame(0x81, event, b"mask")
    assert ask(way, whole) == (1, ["a"])
    assert ask(way, frame(first, event, b"mask")) is None
    assert ask(way, bytes((0x81, len(event))) + event) is None
    assert ask(way, whole + whole) is None
    assert all(ask(way, whole[:size]) is None for size in range(len(whole)))


@given(st.binary(max_size=140), st.binary(min_size=4, max_size=4))
@example(b"42[]", b"\0\0\0\0")
def test_both_ways_understand_the_same(payload: bytes, mask: bytes) -> None:
    """As each other, and nothing that the long way would read otherwise."""
    for text in (payload, b"42" + payload, b'421["a",' + payload, b'42["' + payload + b'"]'):
        read = frame(0x81, text[:125], mask)
        event = ask(plain.event_in_python, read)
        assert ask(plain.plain_event, read) == event
        assert event is None or event == the_long_way(read)


@given(st.binary(max_size=150), st.integers(0, 200))
def test_no_bytes_are_too_strange(read: bytes, longest: int) -> None:
    """Nor read over their end."""
    assert ask(plain.event_in_python, read, longest) == ask(plain.plain_event, read, longest)


@pytest.mark.parametrize("way", WAYS)
def test_a_decoder_that_fails_leaves_it_to_the_long_way(way: Any) -> None:
    """Which has the words for it; but nobody is kept from stopping the program."""
    read = memoryview(bytearray(frame(0x81, b'42["a"]', b"mask")))

    def failing(error: BaseException) -> Any:
        def loads(text: bytes) -> Any:
            assert text == b'["a"]'
            raise error

        return loads

    assert way(read, len(read), LIMIT, failing(RecursionError()), frozenset()) is None
    with pytest.raises(KeyboardInterrupt):
        way(read, len(read), LIMIT, failing(KeyboardInterrupt()), frozenset())


@pytest.mark.parametrize("way", [plain.frame_in_python, plain.text_frame])
def test_a_short_text_is_framed_as_every_text(way: Any) -> None:
    """And a longer one is left to the long way."""
    for size in (0, 1, 124, 125):
        assert way(b"x" * size) == frames.encode(frames.TEXT, b"x" * size)
    assert way(b"x" * 126) is None


@pytest.mark.parametrize("way", [plain.ack_in_python, plain.ack_text])
@pytest.mark.parametrize("id", [0, 7, 10, 999_999_999_999_999])
def test_an_ack_is_its_id_and_the_answer(way: Any, id: int) -> None:
    """As the packets of acks with attachments, or in other namespaces, are."""
    assert way(id, b"[1]") == packets.encode(packets.ACK, "/", id, [1]).text


@served()
async def test_events_come_through_however_they_are_cut(server: Server) -> None:
    """Alone in a read, two in one, one in two, after a fragment, behind a long one."""
    websocket = await server.client()
    first, second = frame(0x81, b'421["ack",1]'), frame(0x81, b'422["ack",2]')
    long = frame(0x81, b'423["ack","' + b"x" * 200 + b'"]')
    for pieces in (
        [first, second],
        [first + second],
        [first[:7], first[7:] + second],
        [first + second[:1], second[1:]],
        [long + first, second],
        [frame(0x01, b'423["ack"'), frame(0x80, b",3]"), first, second],
    ):
        for piece in pieces:
            websocket.writer.write(piece)
            await asyncio.sleep(0.02)  # so that each is a read of its own
        if len(pieces) > 3 or len(pieces[0]) > 200:
            assert (await websocket.receive()).startswith("433[")
        assert await websocket.receive() == "431[1]"
        assert await websocket.receive() == "432[2]"
