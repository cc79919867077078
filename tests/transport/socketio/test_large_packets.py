"""The cost of decoding a large packet is limited."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.transport.loop_turns import MAX_SMALL_SIZE as SMALL
from app.transport.socketio import packet_json, packets
from app.transport.socketio.packets import Limits, PacketError

decode: Any = packets.decode  # Any: only packets with attachments have `add`


PLACEHOLDER = '{"_placeholder":true,"num":0}'


def many(item: str, count: int, *rest: str) -> str:
    """Return a JSON array of an event's name and these items."""
    return "[" + ",".join(('"note"', *itertools.repeat(item, count), *rest)) + "]"


@pytest.mark.parametrize("container", ["[0]", '{"a":0}'])
@pytest.mark.parametrize(
    ("head", "most", "rest"),
    [
        ("2", packet_json.MAX_CONTAINERS, ()),
        ("2/x,7", packet_json.MAX_CONTAINERS, ()),
        ("3/x,7", packet_json.MAX_CONTAINERS, ()),
        ("51-", packet_json.MAX_CONTAINERS_TO_FILL, (PLACEHOLDER,)),
    ],
)
@pytest.mark.attack("A34")
def test_the_containers_of_a_message_are_limited(
    head: str, most: int, container: str, rest: tuple[str, ...]
) -> None:
    """Too many are refused before decoding, and before the message waits for attachments."""
    count = most - 1 - len(rest)
    packet = decode(head + many(container, count, *rest), Limits(5_000_000))
    assert not rest or packet.add(b"x")
    assert len(packet.data) == most
    with pytest.raises(PacketError, match="too many arrays and objects"):
        decode(head + many(container, count + 1, *rest), Limits(5_000_000))


@pytest.mark.parametrize("number", ["1e308", "-1.7976931348623157E+308", "12e-0323", "1.5e289"])
@pytest.mark.parametrize("size", [20, 5000])
def test_many_large_exponents_are_read_by_python(
    number: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """msgspec takes 10 µs for some of these numbers, which is 1.6 s for a megabyte."""
    monkeypatch.setattr(packet_json, "loads", pytest.fail)
    assert (
        packet_json.decode(many(number, size, '"' + "a" * 300 + '"'))[1:-1]
        == [float(number)] * size
    )


@pytest.mark.parametrize("size", [0, 20, 5000])
def test_infinity_is_refused_among_large_exponents(size: int) -> None:
    """Infinity is refused in any message."""
    with pytest.raises(ValueError, match="invalid JSON"):
        packet_json.decode(many("1e308", size, "1e309", '"' + "a" * 300 + '"'))


@pytest.mark.attack("A34")
def test_the_large_exponents_of_a_message_are_limited() -> None:
    """Their number is limited, because Python reads them slowly."""
    most = packet_json.MAX_LARGE_EXPONENTS
    assert len(decode("2" + many("5e-324", most)).data) == most + 1
    with pytest.raises(PacketError, match="too many large exponents"):
        decode("2" + many("5e-324", most + 1))


@pytest.mark.parametrize("half", ["", r"\ud83d"])
def test_large_invalid_json_is_decoded_once(half: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds with and without a lone surrogate."""
    loads, calls = packet_json.loads, []

    def count(text: str) -> Any:
        calls.append(text)
        return loads(text)

    monkeypatch.setattr(packet_json, "loads", count)
    text = many(f'"{half}"', 2000)
    packet_json.decode(text)
    with pytest.raises(ValueError, match="invalid JSON"):
        packet_json.decode(text[:-1])
    assert len(calls) == 2


@pytest.mark.parametrize(
    "text",
    [
        r"\\ud83d",
        r"\ud83d",
        r"\\\ud83d",
        r"\\\\ude00",
        r"\ud83d\ude00",
        r"\ude00\ud83d",
        "\\\\" * 3000,
    ],
)
def test_escaped_backslashes_are_kept_in_large_messages(text: str) -> None:
    """An escaped backslash does not begin a lone surrogate."""
    wanted = (
        json.loads(f'["{text}"]')[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    assert packet_json.decode(f'["{"a" * SMALL}","{text}"]')[1] == wanted


def nested(value: Any) -> int:
    """Compute the depth by recursion."""
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(nested, value), default=0) if isinstance(value, list) else 0


_values = st.recursive(
    st.text('[]{}"\\a', max_size=4) | st.just(1),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('[{"\\'), inner, max_size=2)
    ),
    max_leaves=30,
)


@given(_values, st.integers(0, 9))
def test_depth_is_that_of_the_decoded_value(value: Any, more: int) -> None:
    """Brackets in strings do not count, escaped quotes included."""
    for _ in range(more):
        value = [value, []]
    assert packet_json._depth(json.dumps([value])) == 1 + nested(value)
    assert packet_json._depth(json.dumps([value], ensure_ascii=False)) == 1 + nested(value)


def test_a_large_text_is_decoded_with_its_last_attachment() -> None:
    """Before that it takes its own size in memory, and not twenty times as much."""
    many = "{}," * 10_000
    packet = decode(f'52-["a",{many}{PLACEHOLDER}]')
    undecoded = packet.data
    assert undecoded is None
    assert packet.unread > 30_000
    assert not packet.add(b"x")
    assert packet.add(b"y")
    assert packet.data == ["a", *[{}] * 10_000, b"x"]
    for wrong in (f'51-["a",{many}', f"51-[1,{many}1]", f'51-["connect",{many}1]'):
        with pytest.raises(PacketError):
            decode(wrong).add(b"x")


def test_placeholders_are_found_at_any_depth() -> None:
    """They may be in lists and objects, and may occur twice."""
    shapes = itertools.product(("[%s]", '{"a":%s}', '{"a":[],"b":{"c":[1,%s]}}'), repeat=3)
    for outer, middle, inner in shapes:
        text = outer % (middle % (inner % PLACEHOLDER))
        packet = decode(f'51-["a",{text},{PLACEHOLDER}]')
        assert packet.add(b"x")
        wanted = text.replace(PLACEHOLDER, '"x"')
        assert packet.data == ["a", as_bytes(json.loads(wanted)), b"x"]


def as_bytes(value: Any) -> Any:
    """Replace strings by bytes."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return {k: as_bytes(v) for k, v in value.items()} if isinstance(value, dict) else value
