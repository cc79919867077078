"""Socket.IO packets: strict decoding, exact encoding."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transport.engineio.message import decode_attachment
from app.transport.socketio import packets
from app.transport.socketio.packets import (
    ACK,
    CONNECT,
    DISCONNECT,
    EVENT,
    PacketError,
    encode_ack,
)

# Any: only packets with attachments have `add`, only messages with a text have one
decode: Any = packets.decode
encode: Any = packets.encode

# Inputs that once caused faults, here or in other servers
CORPUS = [
    "",
    "²",
    "2²[]",
    '2٣["x"]',
    "51-",
    "5-[]",
    '59999999999-["x"]',
    '5٣-["x"]',
    "2" + "[" * 5000,
    "2" + "9" * 5000 + "[]",
    "2[" + "9" * 5000 + "]",
    '2["x",{"a":' * 3000,
    "2/" + "n" * 5000 + ',["x"]',
    '2["\\ud800"]',
    "0/,",
    "3",
    "4{}",
    "7[]",
]


@pytest.mark.parametrize(
    ("text", "kind", "namespace", "id", "data"),
    [
        ("0", CONNECT, "/", None, None),
        ('0{"token":"1"}', CONNECT, "/", None, {"token": "1"}),
        ("0/admin", CONNECT, "/admin", None, None),
        ('0/admin,{"a":1}', CONNECT, "/admin", None, {"a": 1}),
        ("1", DISCONNECT, "/", None, None),
        ("1/admin,", DISCONNECT, "/admin", None, None),
        ('2["a"]', EVENT, "/", None, ["a"]),
        ('20["a",1,null]', EVENT, "/", 0, ["a", 1, None]),
        ('2007["a"]', EVENT, "/", 7, ["a"]),
        ('2123456789012345["a",{"x":[1]}]', EVENT, "/", 123456789012345, ["a", {"x": [1]}]),
        ('2["a",{"b":"\\ud83d\\ude00"}]', EVENT, "/", None, ["a", {"b": "\U0001f600"}]),
        ('2["größer"]', EVENT, "/", None, ["größer"]),
        ('2/admin,1["a"]', EVENT, "/admin", 1, ["a"]),
        ('31["a"]', ACK, "/", 1, ["a"]),
        ('2/admin,456["a",{"b":[true]}]', EVENT, "/admin", 456, ["a", {"b": [True]}]),
        ("312[]", ACK, "/", 12, []),
        ("3/a,1[2.5]", ACK, "/a", 1, [2.5]),
        ('50-["a"]', EVENT, "/", None, ["a"]),
    ],
)
def test_the_packets_of_the_protocol_are_decoded(
    text: str, kind: int, namespace: str, id: int | None, data: Any
) -> None:
    """The examples of the protocol's document, and similar packets."""
    packet = decode(text)
    assert (packet.type, packet.namespace, packet.id, packet.data) == (kind, namespace, id, data)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x",
            "7",
            "-",
            "2",
            "2{}",
            "2[]",
            "2[1]",
            '2[["a"]]',
            "21",
            '2{"a":[1]}',
            '2["\\u002a"]',
            "2[null]",
            '2"a"',
            "2[",
            "2]",
        ),
        *('2abc["a"]', '2-1["a"]', '21.5["a"]', '2 1["a"]', '2["a"]x', '2["a"] 1'),
        *("0[]", "0null", '0"a"', "1{}", "3{}", '312{"a":1}', "4", '4{"a":1}'),
        *('2["a",NaN]', '2["a",Infinity]', '2["a",-Infinity]', '2["a",1e999]'),
        *('5["a"]', '5-["a"]', '5x-["a"]', '5-1-["a"]', '511-["a"]', "51000000000-[1]"),
        "2" + "1" * 16 + '["a"]',
        "5" + "9" * 5000 + '-["a"]',  # more digits than int() reads
        '2["a",' + "[" * 200 + "]" * 200 + "]",
        "2/" + "n" * 300 + ',["a"]',
        *('2²["a"]', '2\u0663["a"]', '5²-["a"]', '5\u0663-["a"]', "2/n,[]"),
        '2["a\\\\",' + "[" * 200 + "]" * 200 + "]",
    ],
)
def test_invalid_packets_are_refused(text: str) -> None:
    """The decoder raises one kind of error, whose message contains no part of the packet."""
    with pytest.raises(PacketError) as caught:
        decode(text)
    assert text[1:] not in str(caught.value) or len(text) < 3


@pytest.mark.parametrize(
    "name",
    [
        *("*", "connect", "connect_error", "disconnect", "disconnecting"),
        *("newListener", "removeListener"),
    ],
)
@pytest.mark.parametrize("head", ["2", "217", "2/custom,", "50-", "51-"])
def test_reserved_event_names_are_refused(head: str, name: str) -> None:
    """They would call the application's connect and disconnect handlers."""
    with pytest.raises(PacketError):
        decode(head + json.dumps([name, "x"]))


def test_attachments_take_the_place_of_their_placeholders() -> None:
    """Their numbers set the order, and not the positions of the placeholders."""
    placeholder = '{"_placeholder":true,"num":%d}'
    packet = decode(f'52-["a",{{"x":[{placeholder % 1},{placeholder % 0}]}}]')
    assert packet.announced == 2
    assert not packet.add(b"zero")
    assert packet.add(b"one")
    assert packet.data == ["a", {"x": [b"one", b"zero"]}]


@pytest.mark.parametrize("mark", ["1", '"true"', "false", "null", "[0]"])
def test_an_object_without_a_true_placeholder_mark_is_data(mark: str) -> None:
    """The mark is exactly `true`."""
    data = ["a", {"_placeholder": json.loads(mark), "num": 0}]
    packet = decode("51-" + json.dumps(data))
    assert packet.add(b"zero")
    assert packet.data == data


@pytest.mark.parametrize("number", ["1", "-1", "true", "0.0", '"0"', "null"])
@pytest.mark.attack("A33")
def test_a_placeholder_must_point_at_an_attachment(number: str) -> None:
    """In python-socketio a wrong number blocks the connection."""
    packet = decode('51-["a",{"_placeholder":true,"num":' + number + "}]")
    with pytest.raises(PacketError):
        packet.add(b"zero")


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    """The limit is on depth, and not on the number of brackets."""
    flat = ["a", [[1]] * 500, '"' + "[" * 500, "[" * 500, '"[{\\']
    assert decode("2" + json.dumps(flat)).data == flat


def test_packets_are_encoded_as_node_does() -> None:
    """JSON is compact and in UTF-8, and attachments are counted."""
    assert encode(EVENT, "/", None, ["a", "ü", 1]).text == '2["a","ü",1]'.encode()
    assert encode(EVENT, "/n", 3, ["a"]).text == b'2/n,3["a"]'
    assert encode(ACK, "/", 0, []).text == b"30[]"
    assert encode(DISCONNECT, "/", None, None).text == b"1"
    assert encode(DISCONNECT, "/n", None, None).text == b"1/n,"
    message = encode(EVENT, "/", None, ["a", b"x", {"b": (bytearray(b"y"),)}])
    assert message.attachments == [b"x", b"y"]
    assert message.text == (
        b'52-["a",{"_placeholder":true,"num":0},{"b":[{"_placeholder":true,"num":1}]}]'
    )
    assert message.polled == [b"4" + message.text, b"beA==", b"beQ=="]
    assert message.framed.endswith(b"\x82\x01x\x82\x01y")
    assert encode(ACK, "/", 1, [b"x"]).text.startswith(b"61-1[")
    assert encode(ACK, "/", 1, [memoryview(b"z")]).attachments == [b"z"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": [math.inf]}])
def test_nan_and_infinity_are_not_sent(value: Any) -> None:
    """Every browser that receives one drops the connection."""
    with pytest.raises(ValueError, match="Out of range"):
        encode(EVENT, "/", None, ["a", value])


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab_$ü"), inner),
    max_leaves=20,
)


@given(st.lists(_json, max_size=5), st.none() | st.integers(0, 10**15 - 1))
def test_encoded_data_decodes_to_the_same(arguments: list[Any], id: int | None) -> None:
    """Encoder and decoder agree on JSON."""
    packet = decode(encode(EVENT, "/n", id, ["name", *arguments]).text.decode())
    assert (packet.namespace, packet.id, packet.data) == ("/n", id, ["name", *arguments])


@given(st.text(max_size=60))
def test_any_text_gives_a_packet_or_a_packet_error(text: str) -> None:
    """The decoder raises no other error."""
    check(text)


@given(
    st.sampled_from("0123456"),
    st.sampled_from(["", "1-", "2-", "/", "/n", "/n,", "/n,7", "12"]),
    st.text('[]{}",:0123456789ab\\ntrue-_placeholder', max_size=60),
)
def test_any_text_with_a_packet_head_gives_a_packet_or_a_packet_error(
    kind: str, head: str, tail: str
) -> None:
    """As in the test before, with valid heads more often."""
    check(kind + head + tail)


@pytest.mark.parametrize("text", CORPUS)
def test_the_corpus_gives_packets_or_packet_errors(text: str) -> None:
    """The corpus has inputs that once caused faults."""
    check(text)


def check(text: str) -> None:
    try:
        packet = decode(text)
        while packet.announced and not packet.add(b"x"):
            pass
    except PacketError:
        return
    if packet.type == EVENT:
        assert isinstance(packet.data[0], str)
        assert packet.data[0] not in packets.RESERVED_EVENTS


def test_the_limits_of_a_packet_are_exact() -> None:
    """10 attachments, 128 levels and 256 characters of a namespace pass; one more is refused."""
    assert decode('510-["a"]').announced == 10
    for opened, closed in ("[]", ('{"a":', "}")):
        deepest = '2["a",' + opened * 127 + "1" + closed * 127 + "]"
        assert decode(deepest).data[0] == "a"
        with pytest.raises(PacketError):
            decode('2["a",' + opened * 128 + "1" + closed * 128 + "]")
    longest = "/" + "n" * 255
    assert decode(f'2{longest},["a"]').namespace == longest
    with pytest.raises(PacketError):
        decode(f'2{longest}n,["a"]')


@pytest.mark.parametrize("packet", ["b!!!!", "bAQI", "bA QI=", "4AQI=", "b\xe9\xe9\xe9\xe9"])
def test_an_attachment_must_be_valid_base64(packet: str) -> None:
    """Clients without binary frames send `b` and base64."""
    assert decode_attachment(packet) is None
    assert decode_attachment("bAQI=") == b"\1\2"


@pytest.mark.attack("A33")
def test_the_size_of_a_message_includes_its_attachments() -> None:
    """Attachments within an object count too."""
    message = encode(CONNECT, "/", None, {"a": b"x" * 1000})
    assert message.attachments == [b"x" * 1000]
    assert len(message) == 1 + len(message.text) + 1000


@pytest.mark.parametrize("id", [0, 7, 10, 999_999_999_999_999])
@pytest.mark.parametrize("answer", [[1], ["ü"], [None], [True], [[]], []])
def test_simple_acks_are_encoded_alike(id: int, answer: list[Any]) -> None:
    """The fast encoder of acks gives the result of `encode`."""
    ack = encode_ack("/", id, answer)
    text = ack if isinstance(ack, bytes) else ack.text
    assert text == encode(ACK, "/", id, answer).text
