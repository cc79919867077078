"""Socket.IO packets: strict in, exact out."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transport.socketio import packets
from app.transport.socketio.packets import (
    ACK,
    CONNECT,
    DISCONNECT,
    EVENT,
    PacketError,
    decode,
    encode,
)

# What a fuzzer or an attacker once found, here or in other servers.
CORPUS = [
    "4",
    "4²",
    "42²[]",
    '42٣["x"]',
    "451-",
    "45-[]",
    '459999999999-["x"]',
    '45٣-["x"]',
    "42" + "[" * 5000,
    "42" + "9" * 5000 + "[]",
    "42[" + "9" * 5000 + "]",
    '42["x",{"a":' * 3000,
    "42/" + "n" * 5000 + ',["x"]',
    '42["\\ud800"]',
    "40/,",
    "43",
    "44{}",
    "47[]",
]


@pytest.mark.parametrize(
    ("text", "kind", "namespace", "id", "data"),
    [
        ("40", CONNECT, "/", None, None),
        ('40{"token":"1"}', CONNECT, "/", None, {"token": "1"}),
        ("40/admin", CONNECT, "/admin", None, None),
        ('40/admin,{"a":1}', CONNECT, "/admin", None, {"a": 1}),
        ("41", DISCONNECT, "/", None, None),
        ("41/admin,", DISCONNECT, "/admin", None, None),
        ('42["a"]', EVENT, "/", None, ["a"]),
        ('420["a",1,null]', EVENT, "/", 0, ["a", 1, None]),
        ('42/admin,456["a",{"b":[true]}]', EVENT, "/admin", 456, ["a", {"b": [True]}]),
        ("4312[]", ACK, "/", 12, []),
        ("43/a,1[2.5]", ACK, "/a", 1, [2.5]),
        ('450-["a"]', EVENT, "/", None, ["a"]),
    ],
)
def test_the_packets_of_the_protocol_are_understood(
    text: str, kind: int, namespace: str, id: int | None, data: Any
) -> None:
    """The examples of the protocol's document and their relatives."""
    packet = decode(text)
    assert (packet.type, packet.namespace, packet.id, packet.data) == (kind, namespace, id, data)


@pytest.mark.parametrize(
    "text",
    [
        *("4", "4x", "47", "4-", "42", "42{}", "42[]", "42[1]", "42[null]", '42"a"', "42[", "42]"),
        *('42abc["a"]', '42-1["a"]', '421.5["a"]', '42 1["a"]', '42["a"]x', '42["a"] 1'),
        *("40[]", "40null", '40"a"', "41{}", "43{}", '4312{"a":1}', "44", '44{"a":1}'),
        *('42["a",NaN]', '42["a",Infinity]', '42["a",-Infinity]', '42["a",1e999]'),
        *('45["a"]', '45-["a"]', '45x-["a"]', '45-1-["a"]', '4511-["a"]', "451000000000-[1]"),
        "42" + "1" * 16 + '["a"]',
        "45" + "9" * 5000 + '-["a"]',  # more digits than int() reads
        '42["a",' + "[" * 200 + "]" * 200 + "]",
        "42/" + "n" * 300 + ',["a"]',
        *('42²["a"]', '42\u0663["a"]', '45²-["a"]', '45\u0663-["a"]', "42/n,[]"),
        '42["a\\\\",' + "[" * 200 + "]" * 200 + "]",
    ],
)
def test_what_the_protocol_forbids_is_refused(text: str) -> None:
    """One kind of error, whose words never repeat the client's."""
    with pytest.raises(PacketError) as caught:
        decode(text)
    assert text[2:] not in str(caught.value) or len(text) < 4


@pytest.mark.parametrize(
    "name",
    [
        *("*", "connect", "connect_error", "disconnect", "disconnecting"),
        *("newListener", "removeListener"),
    ],
)
@pytest.mark.parametrize("head", ["42", "4217", "42/custom,", "450-", "451-"])
def test_reserved_names_cannot_be_forged(head: str, name: str) -> None:
    """Hole 1: they would run the application's own connect and disconnect handlers."""
    with pytest.raises(PacketError):
        decode(head + json.dumps([name, "x"]))


def test_attachments_take_the_place_of_their_placeholders() -> None:
    """In the order of their numbers, not of their appearance."""
    placeholder = '{"_placeholder":true,"num":%d}'
    packet = decode(f'452-["a",{{"x":[{placeholder % 1},{placeholder % 0}]}}]')
    assert packet.announced == 2
    assert not packet.add(b"zero")
    assert packet.add(b"one")
    assert packet.data == ["a", {"x": [b"one", b"zero"]}]


@pytest.mark.parametrize("mark", ["1", '"true"', "false", "null", "[0]"])
def test_what_only_looks_like_a_placeholder_is_data(mark: str) -> None:
    """Its mark is `true` and nothing else."""
    data = ["a", {"_placeholder": json.loads(mark), "num": 0}]
    packet = decode("451-" + json.dumps(data))
    assert packet.add(b"zero")
    assert packet.data == data


@pytest.mark.parametrize("number", ["1", "-1", "true", "0.0", '"0"', "null"])
def test_a_placeholder_must_point_at_an_attachment(number: str) -> None:
    """Hole 11: a wrong one wedged the connection."""
    packet = decode('451-["a",{"_placeholder":true,"num":' + number + "}]")
    with pytest.raises(PacketError):
        packet.add(b"zero")


def test_deep_but_lawful_json_with_brackets_in_strings_passes() -> None:
    """The bound is on depth, not on the number of brackets."""
    flat = ["a", [[1]] * 500, '"' + "[" * 500, "[" * 500, '"[{\\']
    assert decode("42" + json.dumps(flat)).data == flat


def test_encoding_is_what_node_would_send() -> None:
    """Compact, UTF-8 as it is, attachments counted."""
    assert encode(EVENT, "/", None, ["a", "ü", 1]).text == '42["a","ü",1]'.encode()
    assert encode(EVENT, "/n", 3, ["a"]).text == b'42/n,3["a"]'
    assert encode(ACK, "/", 0, []).text == b"430[]"
    assert encode(DISCONNECT, "/", None, None).text == b"41"
    assert encode(DISCONNECT, "/n", None, None).text == b"41/n,"
    message = encode(EVENT, "/", None, ["a", b"x", {"b": (bytearray(b"y"),)}])
    assert message.attachments == [b"x", b"y"]
    assert message.text == (
        b'452-["a",{"_placeholder":true,"num":0},{"b":[{"_placeholder":true,"num":1}]}]'
    )
    assert message.polled == [message.text, b"beA==", b"beQ=="]
    assert message.framed.endswith(b"\x82\x01x\x82\x01y")
    assert encode(ACK, "/", 1, [b"x"]).text.startswith(b"461-1[")
    assert encode(ACK, "/", 1, [memoryview(b"z")]).attachments == [b"z"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": [math.inf]}])
def test_nan_and_infinity_are_not_sent(value: Any) -> None:
    """Hole 12: every browser that received them dropped the connection."""
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
def test_what_is_encoded_decodes_to_the_same(arguments: list[Any], id: int | None) -> None:
    """Both directions agree on JSON."""
    packet = decode(encode(EVENT, "/n", id, ["name", *arguments]).text.decode())
    assert (packet.namespace, packet.id, packet.data) == ("/n", id, ["name", *arguments])


@given(st.text(max_size=60))
def test_any_text_gives_a_packet_or_a_packet_error(text: str) -> None:
    """Nothing else comes out of the decoder."""
    check("4" + text)


@given(
    st.sampled_from("0123456"),
    st.sampled_from(["", "1-", "2-", "/", "/n", "/n,", "/n,7", "12"]),
    st.text('[]{}",:0123456789ab\\ntrue-_placeholder', max_size=60),
)
def test_texts_that_look_like_packets_do_too(kind: str, head: str, tail: str) -> None:
    """Like the test before it, but past the head more often."""
    check("4" + kind + head + tail)


@pytest.mark.parametrize("text", CORPUS)
def test_the_corpus_does_too(text: str) -> None:
    """Known trouble."""
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


def test_the_limits_are_where_they_are_said_to_be() -> None:
    """10 attachments, 128 levels, 256 characters of a namespace: so many and not one more."""
    assert decode('4510-["a"]').announced == 10
    for opened, closed in ("[]", ('{"a":', "}")):
        deepest = '42["a",' + opened * 127 + "1" + closed * 127 + "]"
        assert decode(deepest).data[0] == "a"
        with pytest.raises(PacketError):
            decode('42["a",' + opened * 128 + "1" + closed * 128 + "]")
    longest = "/" + "n" * 255
    assert decode(f'42{longest},["a"]').namespace == longest
    with pytest.raises(PacketError):
        decode(f'42{longest}n,["a"]')


@pytest.mark.parametrize("packet", ["b!!!!", "bAQI", "bA QI=", "4AQI=", "b\xe9\xe9\xe9\xe9"])
def test_what_is_no_base64_is_no_attachment(packet: str) -> None:
    """Clients without binary send it as `b` and base64, whole and clean."""
    assert packets.decode_attachment(packet) is None
    assert packets.decode_attachment("bAQI=") == b"\1\2"


def test_a_message_weighs_what_it_holds() -> None:
    """With its attachments, also those within an object."""
    message = encode(CONNECT, "/", None, {"a": b"x" * 1000})
    assert message.attachments == [b"x" * 1000]
    assert len(message) == len(message.text) + 1000
