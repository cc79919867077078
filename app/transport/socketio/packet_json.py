"""The JSON in a Socket.IO packet, decoded and encoded strictly, and large values at C speed."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec

from app.common.lone_surrogates import repair_json, repair_text

MAX_DEPTH = 128
#: Characters of a string that is cheap to decode, whatever it holds.
SMALL = 4096
#: Arrays and objects of a client's message: 200,000 of them, decoded and freed, take 40 ms.
MAX_CONTAINERS = 200_000
#: The same for a message with attachments: `fill`, which visits each, takes 40 ms for as many.
MAX_CONTAINERS_TO_FILL = 40_000
#: Binary values of one message to clients: the parser of the official client allows no more.
MAX_ATTACHMENTS = 10

#: Types whose values JSON always holds.
SIMPLE = frozenset({str, int, bool, type(None)})
_STRINGS = frozenset({str})
# msgspec's own errors are no ValueErrors before 0.21; the message would quote the client
_ERRORS = (ValueError, msgspec.DecodeError, RecursionError)
loads = msgspec.json.Decoder().decode
dumps = msgspec.json.Encoder().encode
_BINARY = (bytes, bytearray, memoryview)
_CONTAINERS = frozenset({dict, list})

# To find numbers such as 1e308, for each of which msgspec needs 10 µs: digits become 0, and signs
# go. Texts up to a length, and a few such numbers, are no concern.
_DIGITS = bytes.maketrans(b"123456789E", b"000000000e")
_LARGE_EXPONENT = b"0e000"
_FEW_LARGE_EXPONENTS, _FEW_CHARACTERS = 16, 256
#: Large exponents of one message; Python's `float` needs up to 0.8 µs for one.
MAX_LARGE_EXPONENTS = 50_000

# For the depth of JSON: brackets are kept, and each is a step up or down.
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b'[]{}"')
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"]*"')
_STEPS = bytes.maketrans(b"[]<>", bytes((1, 255, 4, 252)))  # 255 is -1, 252 is -4


def decode(text: str) -> Any:
    """Decode a client's JSON; raise ValueError if it is invalid or exceeds a limit.

    A lone surrogate becomes U+FFFD. The error does not quote the client.
    """
    if len(text) <= MAX_DEPTH:  # too short to exceed any limit; saves 1 µs of an event
        try:
            return loads(text)
        except _ERRORS:
            pass  # it may have a lone surrogate
    check_containers(text, MAX_CONTAINERS)
    if len(text) > MAX_LARGE_EXPONENTS and count_large_exponents(text) > MAX_LARGE_EXPONENTS:
        raise ValueError("too many large exponents")
    value = decode_trusted(text)
    # Counting brackets is far cheaper than measuring the depth, and nearly always enough.
    if count_containers(text) > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return value


def check_containers(text: str, most: int) -> None:
    """Raise ValueError if JSON may have more arrays and objects than that."""
    if len(text) > most and count_containers(text) > most:
        raise ValueError("too many arrays and objects")


def count_large_exponents(text: str) -> int:
    """Return how many numbers have an exponent of three digits or more, at most."""
    numbers = text.encode("utf-8", "replace").translate(_DIGITS, b"+-")
    return numbers.count(_LARGE_EXPONENT)


def decode_trusted(text: str) -> Any:
    """Decode JSON that another process of ours has encoded, however deep; raise ValueError."""
    try:
        return _decode(text) if len(text) <= SMALL else _decode_large(text)
    except _ERRORS:
        raise ValueError("invalid JSON") from None


def count_containers(text: str) -> int:
    """Return how many arrays and objects JSON has at most; brackets in strings count too."""
    return text.count("[") + text.count("{")


def _decode(text: str) -> Any:
    read = _reader(text)
    try:
        return read(text)
    except _ERRORS:
        return read(repair_json(text))


def _decode_large(text: str) -> Any:
    """Decode once: a megabyte that is decoded twice can take 40 ms more."""
    if "\\u" in text:
        text = repair_json(text)
    return _reader(text)(text)


def _reader(text: str) -> Callable[[str], Any]:
    """Return what decodes this text fast: `loads`, unless it has many large exponents."""
    few = len(text) <= _FEW_CHARACTERS or count_large_exponents(text) <= _FEW_LARGE_EXPONENTS
    return loads if few else _loads_large_exponents


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


_loads_large_exponents = msgspec.json.Decoder(float_hook=_finite).decode


def _depth(text: str) -> int:
    """Return how deeply valid JSON is nested.

    1 MB takes 2 to 20 ms here; a loop over its characters took 180 ms.
    """
    if "\\" in text:
        text = text.replace(r"\\", "").replace(r"\"", "")
    brackets = text.encode("utf-8", "replace").translate(_SQUARE, _NOT_BRACKETS)
    brackets = _STRING.sub(b"", brackets.replace(b'""', b""))
    depth = 0
    while brackets and depth < 2:
        brackets = brackets.replace(b"[]", b"")  # the innermost ones, all in their parents
        depth += 1
    # Runs of four are one step, which leaves the greatest depth as it is.
    runs = brackets.replace(b"[[[[", b"<").replace(b"]]]]", b">")
    steps = memoryview(runs.translate(_STEPS)).cast("b")
    return depth + max(itertools.accumulate(steps), default=0)


def fill(value: Any, attachments: list[bytes]) -> Any:
    """Put attachments in the place of their placeholders, in `value` itself. Raise ValueError."""
    top = [value]
    containers: list[Any] = [top]
    for container in containers:  # which grows as they are found
        values = container.values() if type(container) is dict else container
        if _CONTAINERS.isdisjoint(map(type, values)):
            continue
        items = container.items() if type(container) is dict else enumerate(container)
        for key, item in items:
            if type(item) not in _CONTAINERS or not item:
                continue
            if type(item) is dict and item.get("_placeholder") is True:
                # a key that is there already: the dict keeps its size
                container[key] = _attachment(item, attachments)
            else:
                containers.append(item)
    return top[0]


def _attachment(placeholder: dict[str, Any], attachments: list[bytes]) -> bytes:
    number = placeholder.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise ValueError("invalid placeholder")
    return attachments[number]


def encode(value: Any, *, max_attachments: int = MAX_ATTACHMENTS) -> tuple[bytes, list[bytes]]:
    """Return a value as JSON with placeholders, and the binary values that they stand for.

    A lone surrogate becomes U+FFFD. Raise TypeError or ValueError for what JSON cannot hold: NaN
    and infinity, keys such as tuples, objects that msgspec does not know; and for too many
    binary values.
    """
    attachments: list[bytes] = []
    if _is_flat(value):  # such as the reply to CONNECT, for which this saves 5 µs
        try:
            return dumps(value), attachments
        except UnicodeEncodeError:
            pass

    def replace(item: Any) -> Any:
        if isinstance(item, _BINARY):
            attachments.append(bytes(item))
            return {"_placeholder": True, "num": len(attachments) - 1}
        return msgspec.to_builtins(item, builtin_types=_BINARY, str_keys=True)

    encoder = json.JSONEncoder(
        ensure_ascii=False,
        check_circular=False,
        allow_nan=False,
        separators=(",", ":"),
        default=replace,
    )
    try:
        encoded = _utf8(encoder.encode(value))
    except RecursionError:
        raise ValueError("nested too deeply, or contains itself") from None
    if len(attachments) > max_attachments:
        raise ValueError(
            f"a message can have {max_attachments} binary values, "
            f"and this one has {len(attachments)}: send them in several messages"
        )
    return encoded, attachments


def _is_flat(value: Any) -> bool:
    """Whether this is a list or an object of simple values, which msgspec may encode."""
    if type(value) is dict:
        return _STRINGS.issuperset(map(type, value)) and SIMPLE.issuperset(
            map(type, value.values())
        )
    return type(value) is list and SIMPLE.issuperset(map(type, value))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repair_text(text).encode()
