"""The JSON in a Socket.IO packet, decoded and encoded strictly, and large values at C speed."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import msgspec

from app.surrogates import repair_json, repair_text

MAX_DEPTH = 128
#: Binary values of one message to clients: the parser of the official client allows no more.
MAX_ATTACHMENTS = 10

#: Types whose values JSON always holds.
SIMPLE = frozenset({str, int, bool, type(None)})
loads = msgspec.json.Decoder().decode
dumps = msgspec.json.Encoder().encode
_BINARY = (bytes, bytearray, memoryview)
_CONTAINERS = frozenset({dict, list})

# For the depth of JSON: brackets are kept, and each is a step up or down.
_NOT_BRACKETS = bytes(code for code in range(256) if code not in b'[]{}"')
_SQUARE = bytes.maketrans(b"{}", b"[]")
_STRING = re.compile(rb'"[^"]*"')
_STEPS = bytes.maketrans(b"[]<>", bytes((1, 255, 4, 252)))  # 255 is -1, 252 is -4


def decode(text: str) -> Any:
    """Decode JSON; a lone surrogate becomes U+FFFD. Raise ValueError without the client's words."""
    value = _decode(text)
    # Counting brackets is far cheaper than measuring the depth, and nearly always enough.
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return value


def _decode(text: str) -> Any:
    # msgspec's own errors are no ValueErrors before 0.21; the message would quote the client
    errors = (ValueError, msgspec.DecodeError, RecursionError)
    try:
        return loads(text)
    except errors:
        pass
    try:
        return loads(repair_json(text))
    except errors:
        raise ValueError("invalid JSON") from None


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


def encode(value: Any) -> tuple[bytes, list[bytes]]:
    """Return a value as JSON with placeholders, and the binary values that they stand for.

    A lone surrogate becomes U+FFFD. Raise TypeError or ValueError for what JSON cannot hold: NaN
    and infinity, keys such as tuples, objects that msgspec does not know; and for too many
    binary values.
    """
    attachments: list[bytes] = []
    if type(value) is list and SIMPLE.issuperset(map(type, value)):
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
    if len(attachments) > MAX_ATTACHMENTS:
        raise ValueError(
            f"a message can have {MAX_ATTACHMENTS} binary values, "
            f"and this one has {len(attachments)}: send them in several messages"
        )
    return encoded, attachments


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return repair_text(text).encode()
