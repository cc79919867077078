"""Namespaces that check arguments and results by annotations."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from app.sockets import event
from tests.support.browsers import PythonVisitor, joined
from tests.support.demo.session import BaseNamespace
from tests.support.fork import fork
from tests.support.node_client import NodeVisitor
from tests.support.site import serve

Line = Annotated[str, msgspec.Meta(min_length=1, max_length=5)]


class Move(msgspec.Struct):
    """A struct with a constraint, and one inside of it."""

    count: Annotated[int, msgspec.Meta(ge=0)]
    then: list[Move] = []


@dataclass
class Point:
    """A dataclass."""

    x: int


class Named(TypedDict):
    """A TypedDict."""

    name: str


class Hello(msgspec.Struct):
    """What a client sends with its CONNECT."""

    token: str


class Strict(BaseNamespace):
    """Each event answers with what it was given."""

    validate = True

    async def on_connect(
        self, sid: str, environ: dict[str, Any], auth: Hello | None = None
    ) -> None:
        if auth is not None:
            await self.emit("hello", auth.token, to=sid)

    @event("make a move")
    async def move(self, sid: str, move: Move, note: Line = "none") -> dict[str, Any]:
        assert isinstance(move, Move)
        await self.emit("moved", to=sid)
        return {"count": move.count, "note": note}

    def on_point(self, sid: str, point: Point) -> int:
        return point.x

    async def on_named(self, sid: str, named: Named) -> str:
        return named["name"]

    async def on_file(self, sid: str, data: bytes, name: str) -> bytes:
        return data + name.encode()

    async def on_words(self, sid: str, first: Line, *others: Line) -> list[str]:
        return [first, *others]

    async def on_free(self, sid: str, anything, number: int = 0):  # type: ignore[no-untyped-def]
        return [anything, number]

    async def on_when(self, sid: str, moment: datetime) -> tuple[datetime, Move]:
        return moment, Move(moment.year)

    async def on_bad_result(self, sid: str) -> list[Move]:
        return [Move(count="many")]  # type: ignore[arg-type]

    @staticmethod
    async def on_seats(sid: str, seats: dict[int, str]) -> dict[int, str]:
        return {seat + 1: name for seat, name in seats.items()}

    async def on_any(self, sid: str, event: str, *numbers: int) -> int:
        return sum(numbers)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    return fork(monkeypatch, namespaces=[("/strict", Strict)])


GOOD: list[tuple[tuple[Any, ...], Any]] = [
    (("make a move", {"count": 3}), {"count": 3, "note": "none"}),
    (("make a move", {"count": 3, "then": [{"count": 1}]}, "hi"), {"count": 3, "note": "hi"}),
    (("point", {"x": 4}), 4),
    (("named", {"name": "ada"}), "ada"),
    (("words", "a", "b", "c"), ["a", "b", "c"]),
    (("free", {"any": ["thing"]}), [{"any": ["thing"]}, 0]),
    (("seats", {"7": "ada"}), {"8": "ada"}),
    (("no such", 1, 2, 3), 6),
]
BAD: list[tuple[tuple[Any, ...], str]] = [
    (("make a move", {"count": "3"}), "expected int, got str at arg 1 .count"),
    (("make a move", {"count": -1}), "expected int >= 0 at arg 1 .count"),
    (("make a move", {}), "object missing required field count at arg 1"),
    (
        ("make a move", {"count": 1, "then": [{"count": 1}, {"count": None}]}),
        "expected int, got null at arg 1 .then[1].count",
    ),
    (("make a move", {"count": 1}, "too long"), "expected str of length <= 5 at arg 2"),
    (("make a move",), "arg 1 (move) is missing"),
    (("make a move", {"count": 1}, "a", "b"), "too many args: got 3, expected at most 2"),
    (("file",), "arg 1 (data) and arg 2 (name) are missing"),
    (("file", "text", "name"), "expected bytes, got str at arg 1"),
    (("point", {"x": 1.5}), "expected int, got float at arg 1 .x"),
    (("named", {}), "object missing required field name at arg 1"),
    (("words", "a", "b", ""), "expected str of length >= 1 at arg 3"),
    (("free", None, "1"), "expected int, got str at arg 2"),
    (("seats", {"x": "ada"}), "expected int, got str at arg 1 key"),
    (("no such", 1, "2"), "expected int, got str at arg 2"),
    (("when", "yesterday"), "invalid RFC3339 encoded datetime at arg 1"),
]


async def test_arguments_are_converted_and_wrong_ones_are_named(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """The ack has the field. Nothing else is sent, and the log has a line but no traceback."""
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/strict",))
        for sent, answer in GOOD:
            assert await socket.call(*sent, namespace="/strict") == answer
        told = len(socket.events("/strict"))
        with caplog.at_level(logging.INFO):
            for sent, sentence in BAD:
                assert await socket.call(*sent, namespace="/strict") == {"error": sentence}
        assert len(socket.events("/strict")) == told
        assert site.services.counters.event_errors["arguments"] == len(BAD)
    assert "event 'make a move': expected int, got str at arg 1 .count" in caplog.text
    assert "Traceback" not in caplog.text


async def test_attachments_and_results_are_checked(
    tmp_path: Path, modules: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes stay bytes, a Struct is acked as an object, a wrong result is the server's error."""
    async with serve(tmp_path, modules=modules) as site, PythonVisitor(site.url) as visitor:
        socket = await visitor.socket("websocket", namespaces=("/strict",))
        assert await socket.call("file", b"a\x00", "b", namespace="/strict") == b"a\x00b"
        when = "2027-01-02T03:04:05Z"
        answer = await socket.call("when", when, namespace="/strict")
        assert answer == (when, {"count": 2027, "then": []})
        answer = await socket.call("bad_result", namespace="/strict")
        assert answer == {"error": "expected int, got str at the result [0].count"}
        assert site.services.counters.event_errors["internal"] == 1
    assert "the result of event 'bad_result' is invalid" in caplog.text
    assert "Traceback" not in caplog.text


async def test_the_auth_of_a_connect_is_checked(tmp_path: Path, modules: tuple[str, ...]) -> None:
    """A wrong one refuses the client."""
    async with serve(tmp_path, modules=modules) as site, NodeVisitor(site.url) as visitor:
        socket = await joined(visitor, "websocket", namespaces=("/",))
        await socket.join("/strict", auth={"token": 1})
        assert socket.errors("/strict") == ["expected str, got int at auth .token"]
        await socket.join("/strict", auth={"token": "x"})
        assert await socket.call("words", "a", namespace="/strict") == ["a"]
        assert socket.events("/strict") == [("hello", ("x",))]


class Unknown:
    """A class that JSON cannot hold."""


class BadArgument(BaseNamespace):
    validate = True

    async def on_x(self, sid: str, things: list[Unknown]) -> None: ...


class BadResult(BaseNamespace):
    validate = True

    async def on_x(self, sid: str) -> Unknown: ...  # type: ignore[empty-body]


class BadName(BaseNamespace):
    validate = True

    async def on_x(self, sid: str, thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (BadArgument, "BadArgument.on_x: things cannot be checked, because JSON has no Unknown"),
        (BadResult, "BadResult.on_x: the result cannot be checked"),
        (BadName, "BadName.on_x: validate = True, but .*'Missing' is not defined.*import"),
    ],
)
async def test_annotations_that_cannot_be_checked_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type, words: str
) -> None:
    """The sentence names the method."""
    modules = fork(monkeypatch, namespaces=[("/bad", cls)])
    with pytest.raises(ValueError, match=words):
        async with serve(tmp_path, modules=modules):
            pass
