"""WebSocket frames: the parser and the encoder follow RFC 6455."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transport.engineio.frames import (
    FRAGMENT,
    Control,
    FrameError,
    FrameParser,
    close_code,
    encode,
    encode_close,
    encode_text,
)
from tests.support.raw_websocket import frame
from tests.support.socket_server import Server, served

LIMIT = 70_000

# Inputs that once caused faults, here or in other servers
CORPUS = [
    b"\x81\x84\0\0\0\0abc",
    b"\x00\x80\0\0\0\0",
    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    b"\x81\xfe\x00\x01\0\0\0\0a",
    b"\x88\x81\0\0\0\0a",
    b"\x01\x80\0\0\0\0" * 50 + b"\x80\x80\0\0\0\0",
    b"\x8a\xfe\x00\x7e\0\0\0\0" + b"a" * 126,
]


def parse(data: bytes, limit: int = LIMIT, step: int = 0) -> list[Any]:
    """Feed `data` in pieces of `step` bytes; an error becomes the last item, as its code."""
    parser = FrameParser(limit)
    messages: list[Any] = []
    pieces = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    try:
        for piece in pieces:
            parser.feed(piece)
            while (message := parser.next()) is not None:
                if message is not FRAGMENT:
                    messages.append(message)
    except FrameError as error:
        messages.append(error.code)
    return messages


@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 65535, 65536, LIMIT])
def test_a_message_of_any_length_is_parsed(size: int) -> None:
    """Each of the three forms of length, at its limits."""
    text = "x" * size
    assert parse(frame(0x81, text.encode(), b"abcd")) == [text]
    assert parse(frame(0x82, text.encode(), b"\xff\0\x01\x7f")) == [text.encode()]


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_frames_may_be_cut_anywhere_or_come_several_in_one_read(step: int) -> None:
    """The result does not depend on TCP segments."""
    data = (
        frame(0x81, b"one", b"abcd")
        + frame(0x82, b"2" * 300, b"efgh")
        + frame(0x89, b"ping")
        + frame(0x81, "größer".encode())
    )
    assert parse(data, step=step) == ["one", b"2" * 300, Control(9, b"ping"), "größer"]
    assert parse(data) == parse(data, step=step)


def test_fragments_are_joined_and_a_ping_may_come_between() -> None:
    """A fragmented message may contain control frames (RFC 6455, 5.4)."""
    data = (
        frame(0x01, "ü".encode()[:1])
        + frame(0x89, b"!")
        + frame(0x00, "ü".encode()[1:])
        + frame(0x80, b"ber")
    )
    assert parse(data) == [Control(9, b"!"), "über"]


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("unmasked", b"\x81\x05hello"),
        ("reserved bit 1", frame(0xC1, b"x")),
        ("reserved bit 2", frame(0xA1, b"x")),
        ("reserved bit 3", frame(0x91, b"x")),
        ("opcode 3", frame(0x83, b"")),
        ("opcode 11", frame(0x8B, b"")),
        ("a ping in fragments", frame(0x09, b"")),
        ("a ping of 126 bytes", frame(0x89, b"x" * 126)),
        ("continuation of nothing", frame(0x80, b"x")),
        ("a new message within another", frame(0x01, b"a") + frame(0x81, b"b")),
        ("16 bits of length for 100 bytes", b"\x81\xfe\x00\x64" + b"\0" * 104),
        ("16 bits of length for 125 bytes", b"\x81\xfe\x00\x7d" + b"\0" * 129),
        ("64 bits of length for 65535 bytes", b"\x81\xff" + (65535).to_bytes(8, "big")),
        ("64 bits of length for 1000 bytes", b"\x81\xff" + (1000).to_bytes(8, "big") + b"\0" * 4),
        ("a length with its highest bit set", b"\x81\xff\xff" + b"\0" * 11),
    ],
)
def test_a_frame_that_the_rfc_forbids_is_a_protocol_error(why: str, data: bytes) -> None:
    """The close code is 1002 for any segments."""
    assert parse(data)[-1] == 1002, why
    assert parse(data, step=1)[-1] == 1002, why


@pytest.mark.parametrize("data", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"ok\xf4\x90\x80\x80"])
def test_text_that_is_not_utf8_is_refused(data: bytes) -> None:
    """The close code is 1007, in one frame and in fragments."""
    assert parse(frame(0x81, data)) == [1007]
    assert parse(frame(0x01, data) + frame(0x80, b"")) == [1007]


def test_a_message_over_the_limit_is_refused_from_its_header() -> None:
    """The close code is 1009; the parser does not keep the message."""
    assert parse(b"\x81\xfe" + (150).to_bytes(2, "big"), limit=100) == [1009]
    assert parse(b"\x82\xff" + (1 << 40).to_bytes(8, "big"), limit=100) == [1009]
    assert parse(frame(0x01, b"x" * 60) + frame(0x80, b"x" * 41)[:8], limit=100) == [1009]
    assert parse(frame(0x01, b"x" * 60) + frame(0x80, b"x" * 40), limit=100) == ["x" * 100]
    assert parse(frame(0x81, b"x" * 101), limit=100) == [1009]


def test_the_cost_of_a_message_byte_by_byte_is_linear() -> None:
    """A quadratic cost would take minutes here."""
    text = "x" * 60_000
    assert parse(frame(0x81, text.encode()), step=1) == [text]


def test_parsed_data_is_released() -> None:
    """This holds even if each read ends in the middle of a frame."""
    parser = FrameParser(LIMIT)
    whole = frame(0x82, b"x" * 1000)
    parser.feed(whole[:500])
    assert parser.next() is None
    for _ in range(100):
        parser.feed(whole[500:] + whole[:500])
        assert parser.next() == b"x" * 1000
        assert parser.next() is None
    assert len(parser._buffer) < 3000


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
def test_a_close_frame_may_carry_these_codes(code: int) -> None:
    """RFC 6455, 7.4."""
    assert close_code(code.to_bytes(2, "big") + b"bye") == code
    assert close_code(b"") == 1000


@pytest.mark.parametrize("payload", [b"\x03", b"\0\0", b"\x03\xe7", b"\x03\xec", b"\x03\xed"])
def test_other_close_codes_are_a_protocol_error(payload: bytes) -> None:
    """A peer never sends 1004 to 1006, nor an undefined code."""
    with pytest.raises(FrameError) as caught:
        close_code(payload)
    assert caught.value.code == 1002


@pytest.mark.parametrize("code", [999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_undefined_close_codes_are_a_protocol_error(code: int) -> None:
    """RFC 6455, 7.4.2."""
    with pytest.raises(FrameError):
        close_code(code.to_bytes(2, "big"))


def test_a_close_reason_must_be_utf8() -> None:
    """RFC 6455, 5.5.1."""
    with pytest.raises(FrameError) as caught:
        close_code(b"\x03\xe8\xff")
    assert caught.value.code == 1007


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_the_parser_reads_the_frames_of_the_encoder(size: int) -> None:
    """The test masks the server's frames as a client does."""
    encoded = encode(2, b"x" * size)
    start = 2 if size < 126 else 4 if size < 65536 else 10
    masked = bytes((encoded[0], encoded[1] | 0x80)) + encoded[2:start] + bytes(4) + encoded[start:]
    assert parse(masked) == [b"x" * size]


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_give_messages_or_a_close_code(data: bytes, step: int) -> None:
    """The parser raises FrameError only, and the result does not depend on segments."""
    assert parse(data, limit=200) == parse(data, limit=200, step=step)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0xC1, 0x83]),
            st.binary(max_size=150),
            st.binary(min_size=4, max_size=4),
        ),
        max_size=8,
    ),
    st.integers(1, 40),
)
def test_any_frames_give_messages_or_a_close_code(frames: Any, step: int) -> None:
    """As in the test before, with valid headers more often."""
    data = b"".join(frame(*one) for one in frames)
    assert parse(data, limit=200) == parse(data, limit=200, step=step)


@pytest.mark.parametrize("data", CORPUS)
def test_the_corpus_gives_messages_or_a_close_code(data: bytes) -> None:
    """The corpus has inputs that once caused faults."""
    assert parse(data) == parse(data, step=1)


def test_a_control_frame_does_not_count_as_part_of_a_message() -> None:
    """It changes neither length nor type, and the next message has its own fragments."""
    ping = Control(9, b"p" * 60)
    fragmented = frame(0x02, b"\xff" * 60) + frame(0x89, b"p" * 60) + frame(0x80, b"\xfe" * 40)
    messages = [ping, b"\xff" * 60 + b"\xfe" * 40]
    assert parse(fragmented * 2 + frame(0x81, b"x"), limit=100) == [*messages, *messages, "x"]


@pytest.mark.parametrize("first", [0xC2, 0x83, 0x80])
def test_a_long_frame_is_refused_from_its_header(first: int) -> None:
    """The parser does not wait for the rest of an invalid frame."""
    assert parse(frame(first, b"x" * 60_000)[:100]) == [1002]


def test_a_close_frame_without_a_code_is_empty() -> None:
    """Its code is 1005, which is never sent (RFC 6455, 7.1.5)."""
    assert encode_close(0) == b"\x88\0"
    assert encode_close(1001) == b"\x88\2\3\xe9"


@pytest.mark.parametrize("size", [0, 1, 123, 124, 125, 126, 65534, 65535, 65536])
def test_a_text_frame_can_be_made_of_two_parts(size: int) -> None:
    """The text of a message is copied only once."""
    assert encode_text(b"4", b"x" * size) == encode(1, b"4" + b"x" * size)


@served()
async def test_events_are_parsed_from_any_segments(server: Server) -> None:
    """One or two in a read, one in two reads, after a fragment, behind a long message."""
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
            await asyncio.sleep(0.02)  # so that each is read separately
        if len(pieces) > 3 or len(pieces[0]) > 200:
            assert (await websocket.receive()).startswith("433[")
        assert await websocket.receive() == "431[1]"
        assert await websocket.receive() == "432[2]"
